_base_ = "_bert.py"
name = "tvrn-f30k.bert_butd"
param_scheduler = [dict(type="MultiStepLR", by_epoch=True, milestones=[20], gamma=0.05)]
