//! Conditions, and the one word, `Reason`, that stands in conditions, events, metrics and logs.

/// Type of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    /// The spec can be used.
    Accepted,
    /// A valid certificate is stored.
    Issued,
    /// It is on the host.
    Delivered,
    /// dockerd serves the certificate.
    Serving,
    /// Portainer reaches the host.
    Registered,
    /// Every other condition that applies is true.
    Ready,
}

impl ConditionType {
    /// All of them, in the order in which they come true.
    pub const ALL: [ConditionType; 6] = [
        ConditionType::Accepted,
        ConditionType::Issued,
        ConditionType::Delivered,
        ConditionType::Serving,
        ConditionType::Registered,
        ConditionType::Ready,
    ];
    /// Those that only a companion writes.
    pub const OF_COMPANION: [ConditionType; 2] = [ConditionType::Delivered, ConditionType::Serving];

    /// The name in `type:`.
    pub fn as_str(self) -> &'static str {
        match self {
            ConditionType::Accepted => "Accepted",
            ConditionType::Issued => "Issued",
            ConditionType::Delivered => "Delivered",
            ConditionType::Serving => "Serving",
            ConditionType::Registered => "Registered",
            ConditionType::Ready => "Ready",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Why a condition has its status. The name is the condition's and the event's reason, the metric's label
        /// and the log's field.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason, in the order of this file.
            pub const ALL: &[Reason] = &[$(Reason::$name,)*];

            /// The reason's stable name.
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$name => stringify!($name),)* }
            }

            /// Whether a port lets strangers in, or did: whoever reaches it has root rights on the host.
            pub fn is_exposure(self) -> bool {
                matches!(self, Reason::ExposedByOthers | Reason::ExposureClosed)
            }

            /// The reason of that name, if this version knows it.
            pub fn parse(name: &str) -> Option<Reason> {
                Reason::ALL.iter().copied().find(|reason| reason.as_str() == name)
            }
        }
    };
}

reasons! {
    /// The spec can be used.
    Accepted,
    /// A field of the spec has a value that cannot be used.
    InvalidSpec,
    /// `caRef` names no DockerCA of the namespace.
    AuthorityNotFound,
    /// The DockerCA that `caRef` names cannot sign yet.
    AuthorityNotReady,
    /// A name or address lies outside of the authority's name constraints.
    NotPermitted,
    /// The Secret of that name belongs to someone else, or to an older object.
    SecretConflict,
    /// The ConfigMap of that name belongs to someone else.
    ConfigMapConflict,
    /// The Secret with the passphrase, or the key in it, is missing.
    PassphraseNotFound,
    /// The passphrase does not open the private key.
    PassphraseWrong,
    /// The private key is encrypted and no passphrase is given.
    PassphraseNeeded,
    /// The Secret that `existing` names is missing.
    ExistingNotFound,
    /// The Secret that `existing` names holds no certificate or no key that can be read.
    ExistingUnusable,
    /// The Secret that `existing` names holds a certificate that is not an authority.
    NotAnAuthority,
    /// It holds an authority that another one signed.
    IntermediateAuthority,
    /// It holds an authority that has ended.
    AuthorityExpired,
    /// It holds an authority signed with SHA-1 or worse.
    WeakSignature,
    /// It holds an RSA key below 2048 bits.
    WeakKey,
    /// It holds a private key of another certificate.
    KeyMismatch,
    /// It holds an authority whose usages do not let it sign for hosts and clients.
    SigningNotAllowed,
    /// It holds several authorities.
    ExistingAmbiguous,
    /// A Secret of `additionalTrust` is missing or holds no certificate.
    TrustNotFound,
    /// The authority was made once and its Secret is gone or damaged.
    AuthorityLost,
    /// A sound certificate is stored.
    Issued,
    /// There was none before.
    FirstIssuance,
    /// The Secret was gone.
    SecretMissing,
    /// The pair in the Secret could not be read, or key and certificate did not match.
    SecretDamaged,
    /// The authority has another key than the one that issued the certificate.
    IssuerChanged,
    /// The spec asks for other names, usage or key.
    SpecChanged,
    /// The time of its renewal had come.
    Renewal,
    /// The user asked for it.
    Requested,
    /// An authority was taken over from `existing`.
    Adopted,
    /// A lost authority was replaced as the user asked.
    AuthorityReplaced,
    /// The certificate has expired.
    Expired,
    /// The API server refuses what has to be written, again and again.
    StoreFailed,
    /// The certificate in place on the host is the one that is stored.
    Delivered,
    /// The companion has not put it there yet.
    NotDelivered,
    /// The companion has not put it there within ten minutes: it does not run, or cannot reach the API server.
    CompanionSilent,
    /// No companion delivers it: its namespace or its directory is not listed in the chart.
    NotListed,
    /// No companion is enrolled for the object yet.
    NotEnrolled,
    /// Another object has this host's daemon, or this directory on it.
    HostConflict,
    /// A name that the companion's account needs belongs to someone else.
    AccountConflict,
    /// Files that someone else put there are in the way.
    FileConflict,
    /// The directory cannot be written: it is read-only, full, missing or reached through a link.
    DirectoryUnusable,
    /// What the Secret holds is not fit to be delivered.
    MaterialUnsound,
    /// What was delivered has been removed.
    Removed,
    /// The object is being deleted; what was delivered is removed first.
    Removing,
    /// What was delivered stays on the host, and is no longer updated.
    Retained,
    /// dockerd serves the certificate, and accepts no client without one.
    Serving,
    /// dockerd does not serve the wanted certificate.
    NotServed,
    /// dockerd must be restarted to use the certificate, and the user's consent is needed for it.
    RestartPending,
    /// Another host of the authority is being restarted; this one is next.
    AwaitingTurn,
    /// The host's dockerd is not run by systemd's docker.service and docker.socket.
    UnsupportedHost,
    /// dockerd's configuration holds settings of someone else that are in the way.
    DaemonConflict,
    /// daemon.json or the unit of dockerd cannot be read or used.
    DaemonUnusable,
    /// A change was taken back, since dockerd did not serve as wanted after it.
    RolledBack,
    /// A listener that Dockseal did not make answers clients without a certificate.
    ExposedByOthers,
    /// The listener was closed, since it answered clients without a certificate.
    ExposureClosed,
    /// Someone else changes the configuration back again and again.
    DriftRepeats,
    /// Portainer reaches the host, or every host that the PortainerClient selects.
    Registered,
    /// Not yet: it was not tried, or some of the hosts are not registered.
    NotRegistered,
    /// dockerd does not serve the stored certificate yet, so that it would refuse Portainer.
    AwaitingServing,
    /// The Secret with Portainer's credential is missing, or holds neither apiKey nor username and password.
    CredentialsNotFound,
    /// Portainer refuses the credential.
    CredentialsRefused,
    /// Portainer refuses logins for an hour, since there were too many.
    LoginBanned,
    /// The credential is not an administrator's.
    NotAdministrator,
    /// Portainer does not answer.
    PortainerUnreachable,
    /// The controller may not connect to the address of Portainer, or of the host's dockerd.
    DestinationRefused,
    /// Portainer's own certificate is not trusted, or is another name's.
    PortainerNotTrusted,
    /// Portainer has no administrator yet.
    PortainerNotInitialised,
    /// Portainer refused a call, for a reason of its own.
    PortainerFailed,
    /// An environment of that name is there already and is not ours to change.
    NameConflict,
    /// There is no environment group of that name.
    GroupNotFound,
    /// There are several environment groups of that name.
    GroupAmbiguous,
    /// The host's dockerd cannot be reached from here.
    HostUnreachable,
    /// Portainer does not reach the host's dockerd, though it serves the certificate.
    EnvironmentUnreachable,
    /// This version of Portainer cannot talk to the host's Docker.
    PortainerTooOld,
    /// A companion is to register the host, and may not.
    RegistrarNotAllowed,
    /// The environment was removed from Portainer, or is no longer marked as ours.
    Deregistered,
    /// The object is being deleted; its environments are removed first.
    Deregistering,
    /// Everything that was asked for is there.
    Ready,
    /// A DockerCA that is to be deleted still has hosts or clients; or files that are to be removed are still dockerd's.
    InUse,
    /// The finalizer was removed without its work being done.
    FinalizerForced,
}
