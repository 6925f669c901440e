//! What `flowtap up` says on stdout once it listens.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where everything is; displayed, the lines for the user.
pub(super) struct Banner {
    pub(super) http: SocketAddr,
    pub(super) sflow: Option<SocketAddr>,
    pub(super) pcap_socket: Option<SocketAddr>,
    pub(super) data_dir: PathBuf,
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let off =
            |address: Option<SocketAddr>| address.map_or("off".to_owned(), |address| address.to_string());
        writeln!(f, "flowtap {} is up", env!("CARGO_PKG_VERSION"))?;
        writeln!(f, "  HTTP         http://{}", self.http)?;
        writeln!(f, "  sFlow        UDP {}", off(self.sflow))?;
        writeln!(f, "  pcap socket  TCP {}", off(self.pcap_socket))?;
        writeln!(f, "  stored in    {}", self.data_dir.display())?;
        writeln!(f, "\nTry next:")?;
        match self.pcap_socket {
            Some(address) => writeln!(f, "  nc -N {} {} < FILE.pcap", address.ip(), address.port())?,
            None => writeln!(f, "  curl --data-binary @FILE.pcap http://{}/api/pcap", self.http)?,
        }
        let elsewhere = if self.http.port() == 8082 {
            String::new()
        } else {
            format!(" --analyzer {}", self.http)
        };
        writeln!(f, "  flowtap flows --follow{elsewhere}")?;
        write!(f, "  flowtap query \"G.Flows().Limit(1)\"{elsewhere}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_can_be_pasted() {
        let mut banner = Banner {
            http: ([127, 0, 0, 1], 8082).into(),
            sflow: None,
            pcap_socket: Some(([127, 0, 0, 1], 8100).into()),
            data_dir: "/var/lib/flowtap".into(),
        };
        let text = banner.to_string();
        assert!(text.contains("\n  sFlow        UDP off\n"), "{text}");
        assert!(text.contains("\n  nc -N 127.0.0.1 8100 < FILE.pcap\n"), "{text}");
        assert!(text.contains("\n  flowtap flows --follow\n"), "{text}");
        assert_eq!(
            text.split_once("Try next:\n")
                .map(|(_, next)| next.lines().count()),
            Some(3)
        );
        banner.http.set_port(1234);
        assert!(
            banner
                .to_string()
                .contains("flowtap flows --follow --analyzer 127.0.0.1:1234\n")
        );
    }
}
