//! Who is trusted: a verifier for TLS by given authorities.
