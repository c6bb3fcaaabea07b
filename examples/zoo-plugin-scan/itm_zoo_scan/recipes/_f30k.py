_base_ = "_paper.py"
vocabulary = dict(file="vocab/f30k_precomp_vocab.json")
param_scheduler = [dict(type="MultiStepLR", by_epoch=True, milestones=[15], gamma=0.1)]
train_cfg = dict(max_epochs=30)
