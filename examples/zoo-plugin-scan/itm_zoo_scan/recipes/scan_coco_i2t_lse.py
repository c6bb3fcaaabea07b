_base_ = "_coco.py"
name = "scan-coco.bigru_butd_i2t_lse"
model = dict(aligner=dict(direction="i2t", pooling="lse", sharpness=4.0, pooling_sharpness=20.0))
