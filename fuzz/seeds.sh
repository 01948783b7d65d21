#!/usr/bin/env bash
# seeds.sh: writes the inputs that fuzzing starts from to fuzz/seeds/, from openssl's output and examples/.
# Nothing of them is checked in: their keys are made anew, or known to everybody.
set -euo pipefail
cd "$(dirname "$0")"
command -v openssl >/dev/null || {
  echo "seeds.sh: openssl is not installed: sudo apt-get install openssl" >&2
  exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf seeds
mkdir -p seeds/{stored_leaf,stored_authority,private_key,certificate,up_yaml,duration,object_ref,network,daemon_json,exec_start}

# parts FILE PART...: one input of parts, as src/lib.rs takes it apart. HOW:FILE is a byte that says how and a file's
# bytes, =TEXT is text.
parts() {
  local out=$1 first=1
  shift
  : >"$out"
  while [ $# -gt 0 ]; do
    [ -n "$first" ] || printf '\n\n==\n' >>"$out"
    first=
    case $1 in
      =*) printf '%s' "${1#=}" >>"$out" ;;
      *) printf '%s' "${1%%:*}" >>"$out" && cat "${1#*:}" >>"$out" ;;
    esac
    shift
  done
}

# der NAME: NAME.der and the signed part NAME.tbs of the certificate NAME.pem.
der() {
  openssl x509 -in "$1.pem" -outform DER -out "$1.der"
  openssl asn1parse -in "$1.der" -inform DER -strparse 4 -noout -out "$1.tbs"
}

root=$PWD
quietly() {
  "$@" >/dev/null 2>"$work/said" || { cat "$work/said" >&2 && exit 1; }
}

cd "$work"
# The key that everybody knows, 32 bytes 7, and certificates of it as how-tos make them.
printf '\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20\7\7\7\7\7\7\7\7\7\7\7\7\7\7\7\7\7\7\7\7\7\7\7\7\7\7\7\7\7\7\7\7' >known.key8
openssl pkey -inform DER -in known.key8 -out known.key
number=0
while read -r subject words; do
  number=$((number + 1))
  # shellcheck disable=SC2086
  quietly openssl req -x509 -new -key known.key -subj "$subject" -days 36500 -out "known$number.pem" $words
  der "known$number"
  parts "$root/seeds/stored_leaf/$number" "T:known$number.tbs" =F "T:known$number.tbs" "T:known$number.tbs" =F "T:known$number.tbs"
  parts "$root/seeds/stored_authority/$number" =secret "T:known$number.tbs" =F "T:known$number.tbs" "T:known$number.tbs" "C:known$number.der"
  cp "known$number.der" "$root/seeds/certificate/known$number"
done <<'W'
/CN=docker
/C=DE/ST=Saarland/L=Saarbruecken/O=Bodky/OU=Homelab/CN=docker/emailAddress=admin@bodkys.house -addext keyUsage=critical,keyCertSign,cRLSign
/CN=docker -addext nameConstraints=critical,permitted;DNS:bodkys.house,permitted;IP:192.168.0.0/255.255.0.0,excluded;DNS:.example,permitted;email:a@b.example
/CN=docker -addext extendedKeyUsage=serverAuth,clientAuth
/CN=pandora -addext subjectAltName=DNS:pandora.bodkys.house,IP:192.168.1.7,IP:fd00::1,URI:tcp://a,email:a@b.example
W

# Keys of every kind, as openssl writes them.
quietly openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out p256.pem
quietly openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out p384.pem
quietly openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out p521.pem
quietly openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem
cp known.key ed25519.pem
for key in p256 p384 p521 rsa ed25519; do
  openssl pkcs8 -topk8 -nocrypt -in $key.pem -outform DER -out $key.der
  parts "$root/seeds/private_key/$key" =secret K:$key.der
  for kdf in "-v2 aes-256-cbc -v2prf hmacWithSHA256" "-v2 aes-128-cbc -v2prf hmacWithSHA1" "-v2 des3" "-scrypt -scrypt_N 64 -scrypt_r 8 -scrypt_p 1"; do
    # shellcheck disable=SC2086
    openssl pkcs8 -topk8 -in $key.pem -passout pass:secret -outform DER -out sealed.der $kdf
    parts "$root/seeds/private_key/$key-${kdf//[ \/]/_}" =secret E:sealed.der
  done
  # the last was sealed with scrypt: N = 0 once was a panic
  LC_ALL=C sed 's/\x02\x01\x40\x02\x01\x08/\x02\x01\x00\x02\x01\x08/' sealed.der >zero.der
  parts "$root/seeds/private_key/$key-scrypt-zero" =secret E:zero.der
  parts "$root/seeds/private_key/$key-text" =secret "P:$key.pem"
done
for key in p256 p384 p521; do
  openssl ec -in $key.pem -outform DER -out $key.sec1 2>/dev/null
  parts "$root/seeds/private_key/$key-sec1" =secret S:$key.sec1
  openssl ec -in $key.pem -no_public -outform DER -out $key.sec1 2>/dev/null
  parts "$root/seeds/private_key/$key-sec1-private" =secret S:$key.sec1
done
openssl rsa -in rsa.pem -traditional -outform DER -out rsa.pkcs1 2>/dev/null
parts "$root/seeds/private_key/rsa-pkcs1" =secret R:rsa.pkcs1
for cipher in aes128 aes192 aes256 des3; do
  openssl rsa -in rsa.pem -traditional -$cipher -passout pass:secret -out sealed.pem 2>/dev/null
  parts "$root/seeds/private_key/rsa-$cipher" =secret P:sealed.pem
  openssl ec -in p256.pem -$cipher -passout pass:secret -out sealed.pem 2>/dev/null
  parts "$root/seeds/private_key/p256-$cipher" =secret P:sealed.pem
  {
    sed -n 's/^DEK-Info: //p' sealed.pem
    sed '/^$/,/^---/!d; /^---/d' sealed.pem | base64 -d
  } >sealed.body
  parts "$root/seeds/private_key/p256-$cipher-body" =secret D:sealed.body
done

# Authorities and leaves of each key, and a Secret of each.
for key in p256 p384 p521 rsa; do
  quietly openssl req -x509 -new -key $key.pem -subj "/CN=$key" -days 36500 -out $key-ca.pem
  mv $key-ca.pem $key-ca && cp $key-ca $key-cert.pem && der $key-cert
  cp $key-cert.der "$root/seeds/certificate/$key"
  parts "$root/seeds/stored_leaf/$key" "P:$key-cert.pem" K:$key.der "P:$key-cert.pem"
  parts "$root/seeds/stored_authority/$key" =secret C:$key-cert.der K:$key.der "P:$key-cert.pem"
  openssl pkcs8 -topk8 -in $key.pem -passout pass:secret -outform DER -out sealed.der
  parts "$root/seeds/stored_authority/$key-sealed" =secret C:$key-cert.der E:sealed.der "P:$key-cert.pem"
done
quietly openssl req -x509 -new -key rsa.pem -sha1 -subj /CN=old -days 36500 -out sha1.pem
der sha1 && cp sha1.der "$root/seeds/certificate/sha1"

cd "$root/.."
cp examples/*.yaml fuzz/seeds/up_yaml/
for how in 0 1 2 3 4 5; do
  example=$(cat examples/homelab.yaml)
  parts "fuzz/seeds/up_yaml/secret-$how" "=$how" "=$example" "=$(printf '  more: words\n---\n%s' "${example//homelab/other}")"
  parts "fuzz/seeds/up_yaml/secret-alone-$how" "=$how" = =
done
cat >fuzz/seeds/up_yaml/everything.yaml <<'Y'
apiVersion: dockseal.dev/v1alpha1
kind: DockerCA
metadata: {name: homelab, namespace: home, annotations: {dockseal.dev/renew-requested-at: "2026-01-01T00:00:00Z"}}
spec:
  subject: {commonName: Docker CA, country: de, emailAddress: admin@bodkys.house}
  duration: 1825d
  privateKey: {algorithm: ECDSA, size: 384}
  passphraseSecretRef: {name: ca-pass, key: passphrase}
  nameConstraints: {permittedDNSDomains: [bodkys.house], permittedIPRanges: [192.168.0.0/16, "fd00::/8"]}
  additionalTrust: [{secretRef: {name: old}}]
  secretName: ca
  secretDeletionPolicy: Delete
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerCA
metadata: {name: old}
spec: {existing: {secretRef: {name: old}}}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerHostCert
metadata: {name: pandora, namespace: home}
spec:
  caRef: {name: homelab}
  hostname: pandora.bodkys.house.
  dnsNames: ["*.bodkys.house", my_nas]
  ipAddresses: [192.168.1.7, "fd00::1"]
  includeLoopback: false
  duration: 365d
  renewBefore: 720h
  privateKey: {algorithm: RSA, size: 2048, rotationPolicy: Never}
  address: {host: 1.2.3.4, port: 2376}
  delivery: {target: Node, nodeName: pandora, mode: Daemon, directory: /etc/docker, daemon: {listen: ["0.0.0.0:2376"]}}
  portainer: {name: pandora, publicURL: pandora.bodkys.house, group: homelab, tags: [home]}
---
apiVersion: dockseal.dev/v1alpha1
kind: PortainerClient
metadata: {name: portainer}
spec:
  caRef: {name: homelab}
  commonName: portainer
  hostSelector: {matchLabels: {site: home}, matchExpressions: [{key: a, operator: In, values: [b]}]}
Y
printf '' >fuzz/seeds/duration/empty
for text in 1h 8760h 365d 36525d 36526d 876600h 876601h 0h 01d 1000000h 1.5d; do
  printf '%s' "$text" >"fuzz/seeds/duration/$text"
done
number=0
for text in DockerCA/default/homelab DockerHostCert/a/b/c 'PortainerClient//x' 'home pandora' 'DockerClientCert/a/'; do
  number=$((number + 1))
  printf '%s' "$text" >"fuzz/seeds/object_ref/$number"
done
number=0
for text in 192.168.0.0/16 1.2.3.4/32 fd00::/8 ::/0 0.0.0.0/0 10.0.0.0/08 ::ffff:1.2.3.0/120 1.2.3.4/33 ::1/128; do
  number=$((number + 1))
  printf '%s\nabcdefghijklmnopqrst' "$text" >"fuzz/seeds/network/$number"
done
paths='"tlscacert":"/a/ca.pem","tlscert":"/a/cert.pem","tlskey":"/a/key.pem"'
number=0
while IFS= read -r text; do
  for how in 0 1 2 3; do
    number=$((number + 1))
    printf '%s%b' "$how" "${text//PATHS/$paths}" >"fuzz/seeds/daemon_json/$number"
  done
done <<'W'

{}
{\n  "a": 1e400,\n  "hosts": ["fd://"]\n}\n
{"tlsverify":true,PATHS}
{"tlsverify":true,"tls":false,PATHS}\n
{"tlsverify":true,"tlsverify":false,PATHS}
{"tlsverif\\u0079":true,"TLSVerify":false,"tl\\u017fkey":1,PATHS}
{"features":{"tlsverify":true},"log-opts":{"max-size":"10m","max-size":"1m"},PATHS}
{"tlsverify":"true","live-restore":false,"Live-Restore":null,PATHS}
{\r\n\t"\\ud800":[18446744073709551616,-0.0,"\\ud83d\\ude00"]\r\n\t, "hosts" : [ ] }
\xef\xbb\xbf{"tlsverify":true}
{"a":[[[[{}]]]]} x
W
number=0
while IFS= read -r text; do
  number=$((number + 1))
  parts "fuzz/seeds/exec_start/$number" "=$text" $'=# opts\nDOCKER_OPTS="-H tcp://0.0.0.0:2375 --tls \\\n --label=\'a b\' 5%$"\nLABEL=--label\nX=a b\n'
done <<'W'
/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock $DOCKER_OPTS
/usr/bin/dockerd -H fd:// -H tcp://0.0.0.0:2376 --tlsverify --tlscacert=/a --tlscert /b --tlskey=/c
/usr/bin/dockerd -H=0.0.0.0:2376 -DHtcp://x -DH unix:// -Dl debug -g /d
-@:+/usr/bin/dockerd name "a b"'c' \x41\303\244\u00e4\; ";" \; %% %h $$ ${X}y $X ${X:-y} ${X
/d $LABEL --tls $DOCKER_OPTS -- -H x
W
