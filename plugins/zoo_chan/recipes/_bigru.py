# BiGRU words, self-attention over regions, log-sum-exp pooling; GloVe's 840B vectors to start from
# (--set initial_weights.text_encoder=none to do without).
_base_ = "_paper.py"
model = dict(
    image_encoder=dict(
        type="chan_regions",
        feature_dim=2048,
        dim=1024,
        context="self_attention",
        region_drop=0.2,
    ),
    text_encoder=dict(type="bigru", word_dim=300, dim=1024, word_drop=0.2, mask_token=True),
    aligner=dict(type="hard_alignment", coding="vha", pooling="lse", temperature=0.1),
    extractor=None,
    features=dict(kind="butd", regions=36, dim=2048),
    scoring=dict(image_block=128, text_block=512),
)
initial_weights = dict(text_encoder="glove.840B.300d.txt")
data = dict(inputs="features", by="caption", batch_size=384, workers=4, train="train", dev="dev")
optim_wrapper = dict(
    optimizer=dict(type="AdamW", lr=5e-4, weight_decay=0.01), clip_grad=dict(max_norm=2.0)
)
