# CHAN on Flickr8k from stored features, ours: the setting in which all methods are compared. The
# features are those of chan-f8k's extractor, which stays as it is:
#   zoo extract DATA/images -o FEATURES --model chan-f8k
#   zoo train chan-f8k.frozen --data DATA --features FEATURES --work-dir RUN
_base_ = "zoo:f8k-features"
name = "chan-f8k.frozen"
method = "chan"
plugin = "chan"
model = dict(
    image_encoder=dict(
        type="chan_regions", feature_dim=1280, dim=256, region_drop=0.2, standardize=True
    ),
    text_encoder=dict(
        type="bigru", word_dim=300, dim=256, word_drop=0.2, mask_token=True, dropout=0.2
    ),
    aligner=dict(type="hard_alignment", coding="vha", pooling="mean"),
)
autocast = ["text_encoder.rnn"]
# Hard against soft: each region's best word, and the words that it attends to; and other poolings.
ablations = {
    "textual-hard": {"model.aligner.coding": "tha"},
    "visual-soft": {"model.aligner.coding": "vsa"},
    "log-sum-exp": {"model.aligner.pooling": "lse"},
}
