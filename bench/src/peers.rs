//! The servers that snug is compared with: how they are started, each with a configuration file of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::options::{Kind, Options};
use crate::wire::Dialect;

/// An address that nobody listens on now.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// How a server is run, with its configuration in `folder`.
pub(crate) fn command(options: &Options, folder: &Path, address: SocketAddr) -> anyhow::Result<Command> {
    let is_tls = options.dialect() == Dialect::IrcTls;
    if is_tls {
        make_certificate(folder)?;
    }
    let program = |name: &str| options.program.clone().unwrap_or_else(|| find(name));
    let fill = |text: &str, places: &[(&str, &str)]| -> anyhow::Result<PathBuf> {
        let (port, path) = (address.port().to_string(), folder.to_string_lossy());
        let mut text = text.replace("@PORT@", &port).replace("@FOLDER@", &path);
        for (place, value) in places {
            text = text.replace(place, &value.replace("@PORT@", &port).replace("@FOLDER@", &path));
        }
        let file = folder.join("configuration");
        fs::write(&file, text)?;
        Ok(file)
    };
    Ok(match options.server {
        Kind::Snug => bail!("snugd is started another way"),
        Kind::Floor => {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("floor-server").arg(address.to_string());
            command
        }
        Kind::Inspircd => {
            let tls = [
                (
                    "@MODULES@",
                    "<module name=\"ssl_gnutls\"><sslprofile name=\"bench\" provider=\"gnutls\" \
                     certfile=\"@FOLDER@/cert.pem\" keyfile=\"@FOLDER@/key.pem\">",
                ),
                ("@BIND@", " sslprofile=\"bench\""),
            ];
            let clear = [("@MODULES@", ""), ("@BIND@", "")];
            let file = fill(include_str!("../peers/inspircd.conf"), if is_tls { &tls } else { &clear })?;
            let mut command = Command::new(program("inspircd"));
            command.args(["--nofork", "--runasroot", "--config"]).arg(file);
            command
        }
        Kind::Ngircd => {
            let tls = [
                ("@PORTS@", ""),
                ("@TLS@", "Ports = @PORT@\nCertFile = @FOLDER@/cert.pem\nKeyFile = @FOLDER@/key.pem"),
            ];
            let clear = [("@PORTS@", "Ports = @PORT@"), ("@TLS@", "")];
            let file = fill(include_str!("../peers/ngircd.conf"), if is_tls { &tls } else { &clear })?;
            let mut command = Command::new(program("ngircd"));
            command.arg("-n").arg("-f").arg(file);
            command
        }
        Kind::Ergo => {
            let program = options.program.clone().context("where Ergo is, --program has to say")?;
            let tls = "{tls: {cert: @FOLDER@/cert.pem, key: @FOLDER@/key.pem}}";
            let file =
                fill(include_str!("../peers/ergo.yaml"), &[("@LISTENER@", if is_tls { tls } else { "{}" })])?;
            let database = Command::new(&program).arg("initdb").arg("--conf").arg(&file).output()?;
            ensure!(database.status.success(), "Ergo: {}", String::from_utf8_lossy(&database.stderr));
            let mut command = Command::new(program);
            // It reads what it names in the folder that it is run in.
            command.arg("run").arg("--conf").arg(file).current_dir(folder);
            command
        }
    })
}

/// Debian puts daemons where not everyone looks for programs.
fn find(name: &str) -> PathBuf {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let mut places = folders.iter().map(|folder| Path::new(folder).join(name));
    places.find(|path| path.exists()).unwrap_or_else(|| name.into())
}

fn make_certificate(folder: &Path) -> anyhow::Result<()> {
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .output()
        .context("openssl makes the certificate, and cannot be run")?;
    ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
