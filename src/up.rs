//! `flowtap up`.
mod banner;
mod stop;
mod ticker;
pub(crate) fn run(config: crate::config::Config) -> anyhow::Result<()> {
    let _ = (
        config,
        banner::Banner {
            http: ([127, 0, 0, 1], 1).into(),
            sflow: None,
            pcap_socket: None,
            data_dir: "/".into(),
        }
        .to_string(),
        stop::Stop::default(),
    );
    Ok(())
}
