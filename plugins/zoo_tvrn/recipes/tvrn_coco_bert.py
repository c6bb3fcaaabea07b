_base_ = "_bert.py"
name = "tvrn-coco.bert_butd"
param_scheduler = [dict(type="StepLR", by_epoch=True, step_size=30, gamma=0.5)]
