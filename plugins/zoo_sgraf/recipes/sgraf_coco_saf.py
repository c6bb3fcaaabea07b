_base_ = "_paper.py"
name = "sgraf-coco.bigru_butd_saf"
model = dict(aligner=dict(head="saf"))
vocabulary = dict(file="vocab/coco_precomp_vocab.json")
param_scheduler = [dict(type="MultiStepLR", by_epoch=True, milestones=[10], gamma=0.1)]
train_cfg = dict(max_epochs=20)
