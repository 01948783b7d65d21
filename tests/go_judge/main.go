// The judge answers one JSON object a line: what Go's encoding/pem and crypto/x509, and with them Docker, say.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net"
	"os"
	"time"
)

type question struct {
	PEM   []byte // what blocks it has, and which certificates Docker trusts by it
	Roots []byte // PEM that the chain is verified by
	Chain [][]byte
	Usage string // "server" or "client"
	Name  string
	Now   time.Time
	Serve *server
}

// A server that demands client certificates as dockerd does: PEM, and the newest version of TLS that it speaks.
type server struct {
	Cert, Key, Clients []byte
	Newest             uint16
}

type block struct {
	Label   string
	Headers map[string]string
	Bytes   []byte
}

type answer struct {
	Blocks  []block
	Trusted [][]byte
	Error   string
	Port    int
}

func main() {
	lines := bufio.NewReader(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	questions := json.NewDecoder(lines)
	for {
		var asked question
		if questions.Decode(&asked) != nil {
			return
		}
		if answers.Encode(judge(asked)) != nil {
			return
		}
	}
}

func judge(asked question) answer {
	if asked.Serve != nil {
		port, err := serve(*asked.Serve)
		if err != nil {
			return answer{Error: err.Error()}
		}
		return answer{Port: port}
	}
	if asked.Chain == nil {
		return read(asked.PEM)
	}
	if err := verify(asked); err != nil {
		return answer{Error: err.Error()}
	}
	return answer{}
}

// As CertPool.AppendCertsFromPEM reads it.
func read(rest []byte) (found answer) {
	for len(rest) > 0 {
		var next *pem.Block
		next, rest = pem.Decode(rest)
		if next == nil {
			break
		}
		found.Blocks = append(found.Blocks, block{next.Type, next.Headers, next.Bytes})
		if next.Type != "CERTIFICATE" || len(next.Headers) != 0 {
			continue
		}
		if _, err := x509.ParseCertificate(next.Bytes); err == nil {
			found.Trusted = append(found.Trusted, next.Bytes)
		} else {
			found.Error = err.Error()
		}
	}
	return found
}

// As crypto/tls verifies the other side.
func verify(asked question) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(asked.Roots)
	leaf, err := x509.ParseCertificate(asked.Chain[0])
	if err != nil {
		return err
	}
	for _, der := range asked.Chain[1:] {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		between.AddCert(certificate)
	}
	usage := x509.ExtKeyUsageServerAuth
	if asked.Usage == "client" {
		usage = x509.ExtKeyUsageClientAuth
	}
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, DNSName: asked.Name, CurrentTime: asked.Now,
		KeyUsages: []x509.ExtKeyUsage{usage},
	})
	return err
}

// Serves until the judge ends; the port.
func serve(asked server) (int, error) {
	pair, err := tls.X509KeyPair(asked.Cert, asked.Key)
	if err != nil {
		return 0, err
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(asked.Clients)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert,
		MinVersion: tls.VersionTLS12, MaxVersion: asked.Newest,
	})
	if err != nil {
		return 0, err
	}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				if _, err := client.Read(make([]byte, 1024)); err == nil {
					client.Write([]byte("HTTP/1.0 200 OK\r\nServer: Docker/27.0.3 (linux)\r\n\r\nOK"))
				}
			}()
		}
	}()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
