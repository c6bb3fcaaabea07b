_base_ = "_f30k.py"
name = "scan-f30k.bigru_butd_i2t"
model = dict(aligner=dict(direction="i2t", sharpness=4.0))
