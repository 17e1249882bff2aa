//! What a monitor is told of an archive, against what the other routes say.

use gwa::config::HttpPartial;

use crate::house::{House, send};
use crate::scrape::Scrape;

async fn scrape(house: &House) -> Scrape {
    let answer = send(house.get("/metrics")).await;
    assert_eq!(answer.status(), 200);
    Scrape::read(&answer.text().await.expect("a text"))
}

#[tokio::test]
async fn figures_of_the_archive_are_those_of_its_other_routes() {
    let house = House::new().await;
    let told = scrape(&house).await;
    let stats = house.told("/api/v1/stats").await;
    for (series, field) in [
        ("gwa_head_seq", "seq"),
        ("gwa_head_watermark_timestamp_seconds", "watermark"),
        ("gwa_sealed_envelopes", "count"),
        ("gwa_sealed_bytes", "bytes"),
        ("gwa_waiting_envelopes", "waiting"),
    ] {
        assert_eq!(Some(told.value(series)), stats[field].as_f64(), "{series}");
    }
    let count = told.value("gwa_sealed_envelopes") + told.value("gwa_waiting_envelopes");
    assert_eq!(told.value("gwa_archive_appended_total"), count);
    assert_eq!(told.value("gwa_seal_duration_seconds_count"), 1.0);
    assert_eq!(
        told.value("gwa_seal_envelopes_total"),
        told.value("gwa_sealed_envelopes")
    );
    assert_eq!(told.value("gwa_seal_failures_total"), 0.0);
    let signed = told.value("gwa_head_timestamp_seconds");
    assert_eq!(signed, f64::from(house.head().body().signed_at.0));
    let about = house.told("/api/v1/diagnostics").await;
    assert_eq!(
        Some(told.value("gwa_archive_file_bytes")),
        about["disk"]["archive"].as_f64()
    );
    assert!(told.value("gwa_disk_size_bytes") > told.value("gwa_disk_free_bytes"));
    assert!(told.value("process_resident_memory_bytes") > 1e6);
    assert!(told.value("process_open_fds") > 3.0);
    assert!(told.value("process_cpu_seconds_total") > 0.0);
    // What there is not has a name, and no value.
    for series in ["gwa_store_up", "gwa_p2p_peers", "gwa_verify_faults"] {
        assert!(
            !told.samples.contains_key(series) && told.names.contains(series),
            "{series}"
        );
    }
    let version = format!(
        "gwa_build_info{{version=\"{}\"}}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(told.value(&version), 1.0);
    house.end().await;
}

#[tokio::test]
async fn blocks_and_cars_given_are_counted_with_their_bytes() {
    let house = House::new().await;
    let head = house.cid();
    let block = send(house.get(&format!("/ipfs/{head}?format=raw"))).await;
    let mut bytes = block.bytes().await.expect("a block").len();
    let car = send(house.get(&format!("/ipfs/{head}?format=car"))).await;
    bytes += car.bytes().await.expect("a CAR").len();
    let absent = send(
        house.get("/ipfs/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy?format=raw"),
    )
    .await;
    assert!(absent.status().is_client_error());
    let told = scrape(&house).await;
    assert_eq!(told.value("gwa_gateway_blocks_total"), 1.0);
    assert_eq!(told.value("gwa_gateway_cars_total"), 1.0);
    let counted = told.value("gwa_gateway_bytes_total");
    assert_eq!(counted, f64::from(u32::try_from(bytes).expect("few")));
    house.end().await;
}

#[tokio::test]
async fn a_verification_is_told_when_it_has_ended() {
    let house = House::new().await;
    let post = house.request(reqwest::Method::POST, "/api/v1/verify");
    let post = post.bearer_auth(house.token());
    assert_eq!(send(post).await.status(), 202);
    crate::house::eventually(async || {
        scrape(&house)
            .await
            .samples
            .contains_key("gwa_verify_faults")
    })
    .await;
    let told = scrape(&house).await;
    assert_eq!(told.value("gwa_verify_faults"), 0.0);
    let last = house.told("/api/v1/verify").await;
    assert_eq!(
        Some(told.value("gwa_verify_last_timestamp_seconds")),
        last["last"]["started"].as_f64()
    );
    house.end().await;
}

#[tokio::test]
async fn a_monitor_in_another_container_needs_its_name_for_the_daemon_configured() {
    let foreign = async |house: &House| {
        let request = house.get("/metrics").header("host", "gwa:8547");
        send(request).await.status()
    };
    let house = House::new().await;
    assert_eq!(foreign(&house).await, 403);
    house.end().await;
    let named = |http: &mut HttpPartial| http.hosts = Some(vec!["gwa".to_owned()]);
    let house = House::with(named).await;
    assert_eq!(foreign(&house).await, 200);
    house.end().await;
}
