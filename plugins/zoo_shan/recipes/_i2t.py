# SHAN-I2T: regions alone ask, and a text is the mean of its words.
_base_ = "_bigru.py"
model = dict(
    image_encoder=dict(direction="i2t"),
    text_encoder=dict(direction="i2t"),
    aligner=dict(direction="i2t"),
)
