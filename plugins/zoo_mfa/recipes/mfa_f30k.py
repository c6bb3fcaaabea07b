_base_ = "_bigru.py"
name = "mfa-f30k"
vocabulary = dict(file="vocab/f30k_precomp_vocab.json")
optim_wrapper = dict(optimizer=dict(type="Adam", lr=2e-4), clip_grad=dict(max_norm=2.0))
param_scheduler = [dict(type="MultiStepLR", by_epoch=True, milestones=[15], gamma=0.1)]
train_cfg = dict(max_epochs=30)
