//! `bloom.json`.

use gwa::whisper::{Bloom, Topic};

use crate::fixture::{file, list, name, number32, text, topic};

#[test]
fn topics_have_the_blooms_geth_computes() {
    let file = file("wire/bloom.json");
    for vector in list(&file, "vectors") {
        let topic = topic(vector, "topic");
        let expected: Bloom = text(vector, "bloom").parse().unwrap();
        assert_eq!(Bloom::of_topic_reference(topic), expected, "{topic}");
        assert_eq!(expected.bits_set(), number32(vector, "bits_set"), "{topic}");
        assert!(Bloom::of_topic(topic).contains(&expected), "{topic}");
        if let Some(chat) = vector["name"].as_str() {
            assert_eq!(Topic::of_public_chat(chat), topic, "{chat}");
        }
    }
}

#[test]
fn unions_match_the_topics_geth_says() {
    let file = file("wire/bloom.json");
    let all: Vec<Topic> = list(&file, "vectors")
        .iter()
        .map(|vector| topic(vector, "topic"))
        .collect();
    for vector in list(&file, "aggregated") {
        let bloom: Bloom = text(vector, "bloom").parse().unwrap();
        let union = vector["topics"]
            .as_array()
            .unwrap()
            .iter()
            .map(|topic| topic.as_str().unwrap().parse().unwrap())
            .map(Bloom::of_topic_reference)
            .fold(Bloom::EMPTY, |all, one| all | one);
        if number32(vector, "bits_set") < 512 {
            assert_eq!(union, bloom);
        }
        assert_eq!(bloom.bits_set(), number32(vector, "bits_set"));
        assert_eq!(bloom.is_full(), vector["is_full_node"].as_bool().unwrap());
        let matching: Vec<String> = all
            .iter()
            .filter(|topic| bloom.matches(**topic))
            .map(ToString::to_string)
            .collect();
        assert_eq!(serde_json::json!(matching), vector["matching_topics"]);
        assert_eq!(
            all.len() - matching.len(),
            crate::fixture::size(vector, "not_matching_count")
        );
    }
}

#[test]
fn filters_hold_the_samples_geth_says() {
    let file = file("wire/bloom.json");
    for vector in list(&file, "match") {
        let filter = match vector["filter"].as_str() {
            None => Bloom::FULL,
            Some(filter) => filter.parse().unwrap(),
        };
        let sample: Bloom = text(vector, "sample").parse().unwrap();
        assert_eq!(
            filter.contains(&sample),
            vector["match"].as_bool().unwrap(),
            "{}",
            name(vector)
        );
        assert_eq!(
            filter.is_full(),
            vector["filter_is_full_node"].as_bool().unwrap(),
            "{}",
            name(vector)
        );
    }
}
