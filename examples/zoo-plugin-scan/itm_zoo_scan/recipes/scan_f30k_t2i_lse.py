_base_ = "_f30k.py"
name = "scan-f30k.bigru_butd_t2i_lse"
model = dict(aligner=dict(pooling="lse"))
