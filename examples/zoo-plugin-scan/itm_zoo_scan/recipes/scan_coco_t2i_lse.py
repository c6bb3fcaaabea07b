_base_ = "_coco.py"
name = "scan-coco.bigru_butd_t2i_lse"
model = dict(aligner=dict(pooling="lse"))
