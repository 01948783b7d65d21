//! A terminal in a box, in which the commands of pages are typed.

use super::SOON;
use crate::support::hostbox::HostBox;
use crate::support::hostbox::program::Program;
use crate::support::page_commands::PageCommands;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The pages' machines, all of which the box is.
const ADDRESSES: [&str; 4] = ["192.168.1.7", "192.168.1.9", "100.64.0.7", "10.0.0.1"];
const NAMES: &str =
    "pandora pandora.bodkys.house nas lathe.workshop.lan attic.bodkys.house cabin.example.org cabin.tail1234.ts.net";
/// Someone who may talk to dockerd; and she, and root, may log in as either.
const USERS: &str = "useradd --create-home --shell /bin/sh --groups docker ada
    ssh-keygen -q -t ed25519 -N '' -f /root/key
    for home in /root /home/ada; do
        mkdir -p -m 700 $home/.ssh
        cp /root/key $home/.ssh/id_ed25519
        cp /root/key.pub $home/.ssh/authorized_keys
    done
    chown -R ada: /home/ada
    for key in /etc/ssh/ssh_host_*.pub; do echo \"* $(cat $key)\"; done > /etc/ssh/ssh_known_hosts
    systemctl start ssh";

/// The terminal, and who sits there.
pub struct Terminal<'a> {
    pub host: &'a HostBox,
    page_commands: Rc<PageCommands>,
    user: &'static str,
}

impl<'a> Terminal<'a> {
    /// In a box that has the program, and goes by all names of the pages; there the commands that they leave to `page_commands` are typed.
    pub fn new(host: &'a HostBox, page_commands: PageCommands, user: &'static str) -> Result<Terminal<'a>> {
        host.install(Path::new(env!("CARGO_BIN_EXE_dockseal")), "/usr/local/bin/dockseal")?;
        for address in ADDRESSES {
            host.network(&["addr", "add", &format!("{address}/32"), "dev", "lo"])?;
        }
        host.sh(&format!("echo {} {NAMES} >>/etc/hosts; {USERS}", ADDRESSES[0]))?;
        Ok(Terminal { host, page_commands: Rc::new(page_commands), user })
    }

    /// As another user.
    pub fn another(&self, user: &'static str) -> Terminal<'a> {
        Terminal { host: self.host, page_commands: Rc::clone(&self.page_commands), user }
    }

    /// Types the command of a page that begins so; what it prints.
    pub fn types(&self, page: &str, begins: &str) -> Result<String> {
        self.types_with(page, begins, "")
    }

    /// The same, and `more` behind it.
    pub fn types_with(&self, page: &str, begins: &str, more: &str) -> Result<String> {
        self.sh(&format!("{} {more}", self.page_commands.command(page, begins)?))
    }

    /// Types the command of a page that begins so, and goes on.
    pub fn goes_on(&self, page: &str, begins: &str) -> Result<Program> {
        self.goes_on_in(".", page, begins)
    }

    /// The same in that directory.
    pub fn goes_on_in(&self, directory: &str, page: &str, begins: &str) -> Result<Program> {
        self.starts(&format!("cd {directory}; exec {}", self.page_commands.command(page, begins)?))
    }

    /// Starts what no page types.
    pub fn starts(&self, script: &str) -> Result<Program> {
        self.host.spawn(&words(&self.shell(script)))
    }

    /// Types what no page types.
    pub fn sh(&self, script: &str) -> Result<String> {
        let output = self.host.exec(&words(&self.shell(script)))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{script}: {}\n{said}", output.status);
        Ok(said)
    }

    /// In the user's home, with what a login sets.
    fn shell(&self, script: &str) -> Vec<String> {
        let homelab = if self.user == "root" { "/root".to_owned() } else { format!("/home/{}", self.user) };
        let user = format!("--reuid={0} --regid={0} --init-groups", self.user);
        let script = format!("export HOME={homelab}; cd; {script}");
        let words = ["setpriv"].into_iter().chain(user.split(' ')).chain(["sh", "-ec", &script]);
        words.map(str::to_owned).collect()
    }

    /// Waits until `up` says that the host is Ready, and ends it by Ctrl-C.
    pub fn ready(&self, mut up: Program, host: &str) -> Result<()> {
        up.says(&format!("DockerHostCert/{host}  True"), SOON)?;
        up.signal("INT")?;
        let status = up.wait(SOON)?;
        ensure!(status.success(), "{status}: {}", up.log());
        Ok(())
    }

    /// The Docker CLI with a client's files is served at the host of that name.
    pub fn docker(&self, files: &str, name: &str) -> Result<()> {
        let set = format!("DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH={files} DOCKER_HOST=tcp://{name}:2376");
        self.sh(&format!("{set} docker version")).map(drop)
    }

    /// Tries until it works.
    pub fn eventually<T>(&self, mut work: impl FnMut() -> Result<T>) -> Result<T> {
        let deadline = Instant::now() + SOON;
        loop {
            match work() {
                Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(200)),
                done => return done.context("not within two minutes"),
            }
        }
    }

    /// All was typed.
    pub fn done(&self) -> Result<()> {
        self.page_commands.done()?;
        Ok(())
    }
}

fn words(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}
