# 0.0002 for 20 epochs, then 0.00001, as released.
_base_ = "_bigru.py"
name = "tvrn-f30k.bigru_butd_sgr"
vocabulary = dict(file="vocab/f30k_precomp_vocab.json")
param_scheduler = [dict(type="MultiStepLR", by_epoch=True, milestones=[20], gamma=0.05)]
