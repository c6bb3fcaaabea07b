# The MFA-style reconstruction on bottom-up regions. The abstract states no setting: all of these
# are INFERRED from SCAN and GSMN, after which the method is modelled (README.md beside this
# folder). The first epoch takes all negatives, since the hinge on the hardest one can collapse.
method = "mfa"
plugin = "mfa"
model = dict(
    image_encoder=dict(type="mfa_regions", feature_dim=2048, dim=1024, geometry=False),
    text_encoder=dict(type="mfa_phrases", reader=dict(type="bigru", word_dim=300, dim=1024)),
    aligner=dict(
        type="multi_scale_alignment",
        weights=dict(words=1.0, phrases=1.0, relations=1.0),
        textual_share=0.5,
        visual_sharpness=9.0,
        textual_sharpness=4.0,
    ),
    extractor=None,
    features=dict(kind="butd", regions=36, dim=2048),
    scoring=dict(image_block=128, text_block=512),
)
loss = dict(type="triplet", margin=0.2, negatives="hardest", reduction="sum")
warm_up = dict(epochs=1, negatives="all")
data = dict(inputs="features", by="caption", batch_size=128, workers=4, train="train", dev="dev")
average = None
seed = 2022
