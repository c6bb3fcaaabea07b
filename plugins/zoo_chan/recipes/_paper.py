# What all of the paper's models share (scripts/train.sh of the released code): hinge on the
# hardest negatives after one epoch on all of them, 25 epochs, a tenth of the rate after 15.
method = "chan"
plugin = "chan"
loss = dict(type="triplet", margin=0.05, negatives="hardest", reduction="sum")
warm_up = dict(epochs=1, negatives="all")
param_scheduler = [dict(type="MultiStepLR", by_epoch=True, milestones=[15], gamma=0.1)]
train_cfg = dict(max_epochs=25)
average = None
seed = 2022
