//! Files to the bytes of a tar archive: the same files, the same bytes. It touches no disk.

use zeroize::Zeroizing;

/// A file for a tar archive.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Relative path, at most 100 bytes.
    pub path: &'a str,
    /// Permission bits, such as 0o600.
    pub mode: u32,
    /// The content of the file.
    pub bytes: &'a [u8],
}

/// A tar archive of those files, root's own, of that time (seconds since 1970), with its end marked.
///
/// # Panics
/// Where a path has over 100 bytes.
pub fn tar(entries: &[Entry<'_>], time: u64) -> Zeroizing<Vec<u8>> {
    // Of its final size at once: growing would leave copies of keys behind.
    let size = entries.iter().map(|entry| 512 + entry.bytes.len().next_multiple_of(512)).sum::<usize>() + 1024;
    let mut builder = tar::Builder::new(Vec::with_capacity(size));
    for entry in entries {
        let mut header = tar::Header::new_ustar();
        header.set_mode(entry.mode);
        header.set_size(entry.bytes.len() as u64);
        header.set_mtime(time);
        header.set_uid(0);
        header.set_gid(0);
        builder.append_data(&mut header, entry.path, entry.bytes).expect("a short path; memory takes all");
    }
    Zeroizing::new(builder.into_inner().expect("memory is written"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_is_put_in_comes_out() {
        let key = [7; 700];
        let entries = [
            Entry { path: "ca.pem", mode: 0o444, bytes: b"authority" },
            Entry { path: "tls/docker/key.pem", mode: 0o400, bytes: &key },
        ];
        let archive = tar(&entries, 1_800_000_000);
        assert_eq!(archive.len(), 512 * 2 + 512 * 3 + 1024);
        assert!(archive.ends_with(&[0; 1024]), "GNU tar misses the end otherwise");
        assert_eq!(*archive, *tar(&entries, 1_800_000_000));
        let mut reader = tar::Archive::new(archive.as_slice());
        for (found, entry) in reader.entries().expect("an archive").zip(entries) {
            let mut found = found.expect("an entry");
            let mut bytes = Vec::new();
            found.read_to_end(&mut bytes).expect("memory");
            assert_eq!(bytes, entry.bytes);
            assert_eq!(found.path().expect("a path").to_str(), Some(entry.path));
            assert_eq!(found.header().mode().expect("a mode"), entry.mode);
        }
    }
}
