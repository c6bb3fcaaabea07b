# The rate halves every 30 epochs, as in a line of released code that is commented out.
_base_ = "_bigru.py"
name = "tvrn-coco.bigru_butd_sgr"
vocabulary = dict(file="vocab/coco_precomp_vocab.json")
param_scheduler = [dict(type="StepLR", by_epoch=True, step_size=30, gamma=0.5)]
