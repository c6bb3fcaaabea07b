# The MSSAN-style reconstruction on bottom-up regions. The abstract states no setting: all of these
# are INFERRED from SHAN and SCAN, whose parts it resembles (README.md beside this folder). In the
# first epoch the margins stay where they begin.
method = "mssan"
plugin = "mssan"
model = dict(
    image_encoder=dict(
        type="mssan_regions",
        feature_dim=2048,
        dim=1024,
        whole=True,
        fusion="fused",
        dropout=0.4,
    ),
    text_encoder=dict(
        type="mssan_words",
        reader=dict(type="bigru", word_dim=300, dim=1024),
        whole=True,
        fusion="fused",
        dropout=0.4,
    ),
    aligner=dict(
        type="symmetric_alignment",
        global_weight=1.0,
        local_weight=1.0,
        fused_weight=1.0,
        attention="scan",
    ),
    extractor=None,
    features=dict(kind="butd", regions=36, dim=2048),
    scoring=dict(image_block=128, text_block=512),
)
loss = dict(
    type="adaptive_margin",
    rule="semantic_ema",
    margin=0.2,
    least=0.2,
    largest=0.4,
    momentum=0.99,
    gain=1.0,
    slope=0.5,
    sign=1,
    negatives="hardest",
    reduction="sum",
)
warm_up = dict(epochs=1, frozen=True)
data = dict(inputs="features", by="caption", batch_size=128, workers=4, train="train", dev="dev")
average = None
seed = 2022
