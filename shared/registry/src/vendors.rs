//! Services whose registries are to be spoken to in another way than the specification has it: all differences in one table.

/// Which service a registry is of, as far as that makes a difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Vendor {
    /// One that keeps to the specification: Docker distribution, Harbor, GitLab, ACR, Quay, Nexus, zot.
    #[default]
    Plain,
    /// Docker Hub.
    DockerHub,
    /// Amazon's ECR.
    Ecr,
    /// GitHub's container registry.
    Ghcr,
    /// Google's Artifact Registry, and what was before it.
    Google,
}

/// How a service deletes, as far as that is known of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deletes {
    /// As its first deletion shows.
    AsItTurnsOut,
    /// A manifest by its digest, with all of its tags.
    Digests,
    /// The same, and a tag alone by its name.
    DigestsAndTags,
    /// A tag alone by its name.
    Tags,
    /// A tag alone by its name; then the manifest by its digest, if no tag leads to it.
    TagsThenDigests,
}

/// What differs.
struct Traits {
    vendor: Vendor,
    /// Whether its registries have this host.
    is_of: fn(&str) -> bool,
    /// Size of a chunk of an upload, in bytes. GHCR takes no more than 4 MiB; parts in ECR have at least 5, but for the last.
    chunk: usize,
    /// What a chunk may grow to where its bytes need not be held: what proxies let through that take no more than 100 MB.
    largest: u64,
    /// Whether the answer to a chunk tells how far the upload has come; else a chunk that was taken was taken whole.
    tells_progress: bool,
    /// Whether a blob may come in several requests; else in one, which cannot be resumed.
    takes_chunks: bool,
    /// How it deletes.
    deletes: Deletes,
    /// Whether it does so by an interface of its own only.
    deletes_beside: bool,
}

const MIB: usize = 1024 * 1024;

const TABLE: [Traits; 5] = [
    Traits {
        vendor: Vendor::Ecr,
        is_of: |host| host == "public.ecr.aws" || (host.contains(".dkr.ecr.") && host.contains(".amazonaws.com")),
        chunk: 10 * MIB,
        largest: 10 << 20,
        tells_progress: false,
        takes_chunks: true,
        deletes: Deletes::DigestsAndTags,
        deletes_beside: true,
    },
    Traits {
        vendor: Vendor::Ghcr,
        is_of: |host| host == "ghcr.io",
        chunk: 4 * MIB,
        largest: 4 << 20,
        tells_progress: true,
        takes_chunks: true,
        deletes: Deletes::Digests,
        deletes_beside: true,
    },
    Traits {
        vendor: Vendor::Google,
        is_of: |host| host == "gcr.io" || host.ends_with(".gcr.io") || host.ends_with(".pkg.dev"),
        chunk: 4 * MIB,
        largest: u64::MAX,
        tells_progress: false,
        takes_chunks: false,
        deletes: Deletes::TagsThenDigests,
        deletes_beside: false,
    },
    Traits {
        vendor: Vendor::DockerHub,
        is_of: |host| matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io"),
        chunk: 4 * MIB,
        largest: 64 << 20,
        tells_progress: true,
        takes_chunks: true,
        deletes: Deletes::Tags,
        deletes_beside: true,
    },
    Traits {
        vendor: Vendor::Plain,
        is_of: |_| true,
        chunk: 4 * MIB,
        largest: 64 << 20,
        tells_progress: true,
        takes_chunks: true,
        deletes: Deletes::AsItTurnsOut,
        deletes_beside: false,
    },
];

impl Vendor {
    /// The service behind a host.
    pub fn of(host: &str) -> Self {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
        TABLE.iter().find(|row| (row.is_of)(&name)).map(|row| row.vendor).unwrap_or_default()
    }

    pub(crate) fn chunk(self) -> usize {
        self.row().chunk
    }

    /// The largest blob that goes as a whole, in one request that can be repeated.
    pub(crate) fn one_request(self) -> u64 {
        u64::try_from(self.chunk()).unwrap_or(u64::MAX)
    }

    pub(crate) fn largest(self) -> u64 {
        self.row().largest
    }

    pub(crate) fn tells_progress(self) -> bool {
        self.row().tells_progress
    }

    pub(crate) fn takes_chunks(self) -> bool {
        self.row().takes_chunks
    }

    pub(crate) fn deletes(self) -> Deletes {
        self.row().deletes
    }

    pub(crate) fn deletes_beside(self) -> bool {
        self.row().deletes_beside
    }

    fn row(self) -> &'static Traits {
        TABLE.iter().find(|row| row.vendor == self).unwrap_or(&TABLE[TABLE.len() - 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_tell_their_service() {
        let cases = [
            ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", Vendor::Ecr),
            ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", Vendor::Ecr),
            ("public.ecr.aws", Vendor::Ecr),
            ("Europe-Docker.pkg.dev", Vendor::Google),
            ("eu.gcr.io", Vendor::Google),
            ("gcr.io:443", Vendor::Google),
            ("ghcr.io", Vendor::Ghcr),
            ("docker.io", Vendor::DockerHub),
            ("notghcr.io", Vendor::Plain),
            ("notgcr.io", Vendor::Plain),
            ("pkg.dev.example.org", Vendor::Plain),
            ("127.0.0.1:5000", Vendor::Plain),
        ];
        for (host, vendor) in cases {
            assert_eq!(Vendor::of(host), vendor, "{host}");
            assert_eq!(vendor.row().vendor, vendor);
        }
    }
}
