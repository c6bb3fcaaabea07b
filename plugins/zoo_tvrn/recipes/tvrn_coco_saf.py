# The other half of the ensemble.
_base_ = "tvrn_coco_sgr.py"
name = "tvrn-coco.bigru_butd_saf"
model = dict(aligner=dict(head="saf"))
