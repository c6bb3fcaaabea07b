# SHAN-T2I: words alone ask, and an image is the mean of its regions.
_base_ = "_bigru.py"
model = dict(
    image_encoder=dict(direction="t2i"),
    text_encoder=dict(direction="t2i"),
    aligner=dict(direction="t2i"),
)
