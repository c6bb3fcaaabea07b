_base_ = "_coco.py"
name = "scan-coco.bigru_butd_i2t"
model = dict(aligner=dict(direction="i2t", sharpness=4.0))
