// Package smtpsim is a simulated mail server: SMTP on a given listener, with TLS from the first byte or by
// STARTTLS, a user who must sign in, and refusals and silences on demand. It is reached only from tests and the lab.
package smtpsim

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config is a server. The zero Config takes mail from everybody, in the open.
type Config struct {
	TLS      *tls.Config // nil: it has none
	Implicit bool        // TLS from the first byte
	User     string      // empty: nobody signs in
	Password string
	Offers   string // ways to sign in; PLAIN LOGIN if empty
}

// Mail is a letter that was taken.
type Mail struct {
	From string
	To   []string
	Text string
	Safe bool // over TLS
}

// Server is a mail server.
type Server struct {
	cfg Config

	mu    sync.Mutex
	mails []Mail
	fails map[string]string // the answer to a command, such as RCPT, in place of the usual one
	hangs map[string]bool
	said  []string // what passwords and commands came, to see what was told in the open
}

// New makes a server.
func New(cfg Config) *Server {
	if cfg.Offers == "" {
		cfg.Offers = "PLAIN LOGIN"
	}
	return &Server{cfg: cfg, fails: map[string]string{}, hangs: map[string]bool{}}
}

// Fail has a command (CONNECT, EHLO, AUTH, MAIL, RCPT, DATA, END or QUIT) answered so from now on, such as "451 4.7.1 try
// again later"; empty: as usual.
func (s *Server) Fail(command, answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails[command] = answer
}

// Hang has a command never answered from now on.
func (s *Server) Hang(command string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hangs[command] = true
}

// Mails are the letters that were taken, in order.
func (s *Server) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mails)
}

// Said are all lines that came in the open, letters too.
func (s *Server) Said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.said)
}

// Serve answers until the context ends.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	for {
		conn, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("take a connection: %w", err)
		}
		wg.Go(func() {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			s.talk(ctx, conn)
		})
	}
}

// session is one conversation.
type session struct {
	*Server
	ctx  context.Context
	conn net.Conn
	in   *bufio.Reader
	safe bool
	user bool
	mail Mail
}

var errOver = errors.New("the conversation is over")

func (s *Server) talk(ctx context.Context, conn net.Conn) {
	c := &session{Server: s, ctx: ctx, conn: conn}
	if s.cfg.Implicit {
		c.conn, c.safe = tls.Server(conn, s.cfg.TLS), true
	}
	c.in = bufio.NewReader(c.conn)
	if c.answer("CONNECT", "220 smtpsim ESMTP") != nil {
		return
	}
	for {
		line, err := c.line()
		if err != nil {
			return
		}
		if c.command(line) != nil {
			return
		}
	}
}

func (c *session) line() (string, error) {
	line, err := c.in.ReadString('\n')
	if err == nil && !c.safe {
		c.mu.Lock()
		c.said = append(c.said, strings.TrimRight(line, "\r\n"))
		c.mu.Unlock()
	}
	return strings.TrimRight(line, "\r\n"), err
}

func (c *session) answer(command, usual string) error {
	c.mu.Lock()
	fail, hang := c.fails[command], c.hangs[command]
	c.mu.Unlock()
	if hang {
		<-c.ctx.Done()
		return errOver
	}
	if fail != "" {
		_, err := fmt.Fprintf(c.conn, "%s\r\n", fail)
		if err == nil && (command == "CONNECT" || strings.HasPrefix(fail, "421")) {
			return errOver
		}
		return err
	}
	_, err := fmt.Fprintf(c.conn, "%s\r\n", usual)
	return err
}

func (c *session) command(line string) error {
	verb, rest, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO", "HELO":
		offers := "250-smtpsim\r\n250-8BITMIME\r\n"
		if c.cfg.TLS != nil && !c.safe {
			offers += "250-STARTTLS\r\n"
		}
		if c.cfg.User != "" {
			offers += "250-AUTH " + c.cfg.Offers + "\r\n"
		}
		return c.answer("EHLO", offers+"250 OK")
	case "STARTTLS":
		if err := c.answer("STARTTLS", "220 go ahead"); err != nil {
			return err
		}
		c.conn, c.safe = tls.Server(c.conn, c.cfg.TLS), true
		c.in = bufio.NewReader(c.conn)
		return nil
	case "AUTH":
		return c.auth(rest)
	case "MAIL":
		if c.cfg.User != "" && !c.user {
			return c.answer("MAIL", "530 5.7.0 authentication required")
		}
		c.mail = Mail{From: address(rest), Safe: c.safe}
		return c.answer("MAIL", "250 OK")
	case "RCPT":
		c.mail.To = append(c.mail.To, address(rest))
		return c.answer("RCPT", "250 OK")
	case "DATA":
		return c.data()
	case "QUIT":
		if err := c.answer("QUIT", "221 bye"); err != nil {
			return err
		}
		return errOver
	case "RSET", "NOOP":
		return c.answer(verb, "250 OK")
	}
	return c.answer(verb, "500 5.5.1 what?")
}

func address(rest string) string {
	_, after, _ := strings.Cut(rest, "<")
	inner, _, _ := strings.Cut(after, ">")
	return inner
}

func (c *session) auth(rest string) error {
	way, first, _ := strings.Cut(rest, " ")
	ask := func(what string) (string, error) {
		if _, err := fmt.Fprintf(c.conn, "334 %s\r\n", base64.StdEncoding.EncodeToString([]byte(what))); err != nil {
			return "", err
		}
		line, err := c.line()
		return plain(line), err
	}
	user, password := "", ""
	switch strings.ToUpper(way) {
	case "PLAIN":
		parts := strings.Split(plain(first), "\x00")
		if len(parts) == 3 {
			user, password = parts[1], parts[2]
		}
	case "LOGIN":
		var err error
		if user = plain(first); first == "" {
			if user, err = ask("Username:"); err != nil {
				return err
			}
		}
		if password, err = ask("Password:"); err != nil {
			return err
		}
	}
	c.user = user == c.cfg.User && password == c.cfg.Password
	if !c.user {
		return c.answer("AUTH", "535 5.7.8 "+user+" with "+password+" is not known") // servers that echo exist
	}
	return c.answer("AUTH", "235 2.7.0 welcome")
}

func plain(text string) string {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return ""
	}
	return string(b)
}

func (c *session) data() error {
	c.mu.Lock()
	refused := c.fails["DATA"] != ""
	c.mu.Unlock()
	if err := c.answer("DATA", "354 go on"); err != nil || refused {
		return err
	}
	var text strings.Builder
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		if line == "." {
			break
		}
		text.WriteString(strings.TrimPrefix(line, ".") + "\n")
	}
	c.mu.Lock()
	if c.fails["END"] == "" && !c.hangs["END"] {
		c.mail.Text = text.String()
		c.mails = append(c.mails, c.mail)
	}
	c.mu.Unlock()
	return c.answer("END", "250 2.0.0 taken")
}

// Certificate makes one for a host, and what trusts it.
func Certificate(host string) (server, client *tls.Config, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	if ip := net.ParseIP(host); ip != nil {
		about.DNSNames, about.IPAddresses = nil, []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	if err != nil {
		return nil, nil, fmt.Errorf("make a certificate: %w", err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("read the certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12},
		&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}
