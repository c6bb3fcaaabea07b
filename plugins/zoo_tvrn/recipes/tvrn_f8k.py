# TVRN on Flickr8k from stored features, ours: the
# setting in which all methods are compared. The features are those of chan-f8k's extractor, which
# stays as it is:
#   zoo extract DATA/images -o FEATURES --model chan-f8k
#   zoo train tvrn-f8k --data DATA --features FEATURES --work-dir RUN
# Words are refined by their caption, not by each image, and the head is SAF: for the sake of time
# on a CPU. The ablation has the other choices.
_base_ = "zoo:f8k-features"
name = "tvrn-f8k"
method = "tvrn"
plugin = "tvrn"
model = dict(
    image_encoder=dict(
        type="tvrn_regions",
        feature_dim=1280,
        dim=256,
        region_drop=0.2,
        standardize=True,
        region_context="overlap",
        threshold=0.5,
        doubled=True,
        sae="region",
        text_context="none",
        dropout=0.2,
    ),
    text_encoder=dict(
        type="tvrn_words",
        reader=dict(
            type="bigru", word_dim=300, dim=256, word_drop=0.2, mask_token=True, dropout=0.2
        ),
        text_context="none",
        doubled=True,
        dropout=0.2,
    ),
    aligner=dict(
        type="refined_alignment",
        dim=256,
        similarity_dim=64,
        text_context="none",
        head="saf",
        dropout=0.2,
    ),
)
autocast = ["text_encoder.reader.rnn"]
# Without one refinement each: regions by overlap, regions, words (that side is then not
# doubled), semantic alignment enhancement. And what this recipe leaves out.
ablations = {
    "regions-by-content": {"model.image_encoder.region_context": "content"},
    "regions-plain": {"model.image_encoder.region_context": "off"},
    "words-plain": {
        "model.image_encoder.text_context": "off",
        "model.text_encoder.text_context": "off",
        "model.aligner.text_context": "off",
    },
    "without-SAE": {"model.image_encoder.sae": "off"},
    "SGR": {"model.aligner.head": "sgr"},
    "log-sum-exp-loss": {"loss": dict(type="log_sum_exp")},
    "words-by-image": {  # several times as slow: half of each caption is read for every image
        "model.image_encoder.text_context": "pair",
        "model.text_encoder.text_context": "pair",
        "model.aligner.text_context": "pair",
    },
}
