use super::*;

#[test]
fn a_streams_series_go_when_it_goes() {
    let metrics = Arc::new(Metrics::new());
    let door = metrics.stream("door");
    let _yard = metrics.stream("yard");
    door.count_by(&metrics.source_failures, "connect", 1);
    door.count(&metrics.frames_decoded, 3);
    metrics.worker_restarts.with_label_values(&["yard", "pixels", "exit code 1"]).inc();
    assert!(metrics.text().contains("camshaft_frames_decoded_total{stream=\"door\"} 3"));
    drop(door);
    let text = metrics.text();
    assert!(!text.contains("door"), "{text}");
    assert!(text.contains("yard") && text.contains("camshaft_build_info"));
}
