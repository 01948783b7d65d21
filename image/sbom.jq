# Cargo's metadata, in; a CycloneDX 1.6 bill of what is in the image, out.
($linked | split("\n")) as $linked
| [.packages[] | select("\(.name)@\(.version)" | IN($linked[]))] as $packages
| ($packages | map(.id)) as $ids
| (($lock | [scan("name = \"([^\"]+)\"\nversion = \"([^\"]+)\"\nsource = \"[^\"]+\"\nchecksum = \"([0-9a-f]{64})\"")])
   | map({key: "\(.[0])@\(.[1])", value: .[2]}) | from_entries) as $checksums
| def ref: "pkg:cargo/\(.name)@\(.version)";
  ($packages | map({key: .id, value: ref}) | from_entries) as $refs
| {
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      timestamp: $created,
      component: ($packages[] | select(.source == null) | {
        type: "container", "bom-ref": ref, name, version, description, purl: ref,
        licenses: [{expression: .license}],
        hashes: [{alg: "SHA-256", content: $layer}]
      })
    },
    components: (
      ($packages | map(select(.source != null) | {
        type: "library", "bom-ref": ref, name, version, purl: ref, scope: "required",
        licenses: (if .license then [{expression: (.license | gsub("/"; " OR "))}] else [] end),
        hashes: ($checksums["\(.name)@\(.version)"] // empty | [{alg: "SHA-256", content: .}])
      })) + [
        {type: "library", "bom-ref": "rust-std", name: "rust-std", version: $rust,
         purl: "pkg:generic/rust-std@\($rust)", licenses: [{expression: "MIT OR Apache-2.0"}]},
        {type: "library", "bom-ref": $libc.name, name: $libc.name, version: $libc.version, purl: $libc.purl,
         licenses: [{expression: $libc.license}]},
        {type: "data", "bom-ref": "ca-certificates", name: "ca-certificates", version: $roots,
         purl: "pkg:deb/debian/ca-certificates@\($roots)", licenses: [{expression: "MPL-2.0"}]}
      ] | sort_by(.["bom-ref"])),
    dependencies: ([.resolve.nodes[] | select(.id | IN($ids[])) | {
      ref: $refs[.id],
      dependsOn: ([.deps[] | select(any(.dep_kinds[]; .kind == null)) | $refs[.pkg] // empty] | unique)
    }] | sort_by(.ref))
  }
