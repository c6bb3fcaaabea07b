# BERT words, regions by projection alone, mean pooling; BERT itself learns at a tenth of the rate.
# bert-base-uncased is a folder with vocab.txt, config.json and model.safetensors.
_base_ = "_paper.py"
model = dict(
    image_encoder=dict(
        type="chan_regions", feature_dim=2048, dim=1024, context="basic", region_drop=0.2
    ),
    text_encoder=dict(type="bert", dim=1024, word_drop=0.2),
    aligner=dict(type="hard_alignment", coding="vha", pooling="mean"),
    extractor=None,
    features=dict(kind="butd", regions=36, dim=2048),
    scoring=dict(image_block=128, text_block=512),
)
vocabulary = dict(file="bert-base-uncased/vocab.txt")
initial_weights = dict(text_encoder="bert-base-uncased/model.safetensors")
data = dict(inputs="features", by="caption", batch_size=128, workers=4, train="train", dev="dev")
optim_wrapper = dict(
    optimizer=dict(type="AdamW", lr=5e-4, weight_decay=1e-4),
    paramwise_cfg={"text_encoder.bert": dict(lr_mult=0.1)},
    clip_grad=dict(max_norm=2.0),
)
