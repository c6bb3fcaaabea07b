_base_ = "_f30k.py"
name = "scan-f30k.bigru_butd_i2t_lse"
model = dict(aligner=dict(direction="i2t", pooling="lse", sharpness=4.0, pooling_sharpness=5.0))
