# What all of the paper's models share: released code's loss, rate, batch and sizes, and the clean
# variant of the model: texts expanded by the image they are compared with, semantic alignment
# enhancement, no batch norm (INFERRED: README.md beside this folder says why).
# The features need boxes. To do without: --set model.image_encoder.threshold=None
method = "tvrn"
plugin = "tvrn"
model = dict(
    image_encoder=dict(
        type="tvrn_regions",
        feature_dim=2048,
        dim=1024,
        region_context="overlap",
        threshold=0.5,
        sae="region",
        text_context="pair",
        dropout=0.4,
    ),
    aligner=dict(
        type="refined_alignment",
        dim=1024,
        similarity_dim=256,
        text_context="pair",
        head="sgr",
        steps=3,
        dropout=0.4,
    ),
    extractor=None,
    features=dict(kind="butd", regions=36, dim=2048),
    scoring=dict(image_block=128, text_block=512),
)
loss = dict(type="log_sum_exp", margin=0.2, temperature=0.05, form="proper")
data = dict(inputs="features", by="caption", batch_size=64, workers=4, train="train", dev="dev")
train_cfg = dict(max_epochs=50)
average = None
seed = 2022
