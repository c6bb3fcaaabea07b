_base_ = "_paper.py"
vocabulary = dict(file="vocab/coco_precomp_vocab.json")
optim_wrapper = dict(optimizer=dict(type="Adam", lr=5e-4), clip_grad=dict(max_norm=2.0))
param_scheduler = [dict(type="MultiStepLR", by_epoch=True, milestones=[10], gamma=0.1)]
train_cfg = dict(max_epochs=20)
