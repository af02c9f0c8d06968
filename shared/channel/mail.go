package channel

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/textproto"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"time"

	smtpurl "github.com/nicholas-fedor/shoutrrr/pkg/services/email/smtp"
	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

// TLS is how the way to a mail server is kept private.
type TLS string

// The ways. Without TLS there is only the way to this machine's own server.
const (
	StartTLS TLS = "starttls" // begun in the open, and nothing is said before
	Implicit TLS = "implicit" // from the first byte, on port 465
	NoTLS    TLS = "none"
)

// Post is the mail server that takes what is sent: by SMTP, or a program as sendmail is.
type Post struct {
	Host     string
	Port     int // 0: the usual one
	TLS      TLS
	User     string // empty: it asks for nothing
	Password string
	From     string

	Sendmail string // its path, in place of a server

	Roots *tls.Config                                                       // nil: the system's authorities
	Dial  func(ctx context.Context, network, addr string) (net.Conn, error) // nil: the network's own
}

// Mail is a person's mailbox.
type Mail struct {
	post   Post
	to     []string
	hidden secrets
}

// ValidAddress is for who checks a mail address.
func ValidAddress(address string) error {
	a, err := mail.ParseAddress(address)
	if err != nil || a.Address != address {
		return errors.New("is no mail address; write it such as alex@example.org")
	}
	return nil
}

// Local reports whether a host is this machine itself.
func Local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// NewMail makes a sender.
func NewMail(post Post, to ...string) *Mail {
	return &Mail{post: post, to: to, hidden: secretWords(append(basics(post.User, post.Password), post.User, post.Password)...)}
}

// NewSMTP makes a sender of an address as shoutrrr writes them, smtp://USER:PASSWORD@HOST:PORT/?from=...&to=...
// It is not sent by that library, which has no deadline once it is connected.
func NewSMTP(address string, post Post) (*Mail, error) {
	hidden := secretsOf(address)
	wrong := func(why string) (*Mail, error) {
		return nil, fmt.Errorf("is no address of smtp (%s); %s says how it is written", why, servicesAt)
	}
	u, err := url.Parse(address)
	if err != nil {
		return wrong("it cannot be read")
	}
	c := smtpurl.Config{Port: smtpurl.DefaultSMTPPort, Encryption: smtpurl.EncMethods.Auto, UseStartTLS: true}
	if err := c.SetURL(u); err != nil {
		return wrong("it needs a host, from= and to=, and nothing that is not known")
	}
	c.FixEmailTags()
	post.Host, post.Port, post.User, post.Password, post.From = c.Host, int(c.Port), c.Username, c.Password, c.FromAddress
	switch {
	case c.Encryption == smtpurl.EncMethods.ImplicitTLS, c.Encryption == smtpurl.EncMethods.Auto && c.Port == smtpurl.ImplicitTLSPort:
		post.TLS = Implicit
	case Local(c.Host) && (c.Encryption == smtpurl.EncMethods.None || !c.RequireStartTLS):
		post.TLS = NoTLS
	case c.Encryption == smtpurl.EncMethods.None || !c.UseStartTLS:
		return wrong("there is no way without TLS but to this machine's own server")
	default:
		post.TLS = StartTLS
	}
	for _, a := range append([]string{c.FromAddress}, c.ToAddresses...) {
		if ValidAddress(a) != nil {
			return wrong("from and to must be mail addresses")
		}
	}
	m := NewMail(post, c.ToAddresses...)
	m.hidden = append(m.hidden, hidden...)
	return m, nil
}

// About implements Sender.
func (s *Mail) About() string {
	if s.post.Sendmail != "" {
		return "e-mail by this machine"
	}
	return "e-mail by " + s.post.Host
}

// Send implements Sender.
func (s *Mail) Send(ctx context.Context, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, Within)
	defer cancel()
	letter, err := s.letter(m)
	if err != nil {
		return err
	}
	if s.post.Sendmail != "" {
		return s.local(ctx, letter)
	}
	return s.remote(ctx, letter)
}

// letter has the same Message-ID in each try, by which a mailbox may know it again, and names its incident as what it
// answers to, so that mail programs show all of one incident as one conversation.
func (s *Mail) letter(m Message) (*gomail.Msg, error) {
	letter := gomail.NewMsg()
	if letter.From(s.post.From) != nil || letter.To(s.to...) != nil {
		return nil, permanent("e-mail has no mail address to write from, or to")
	}
	letter.Subject(line(m.Subject))
	letter.SetDateWithValue(m.At)
	letter.SetGenHeader("Auto-Submitted", "auto-generated")
	letter.SetGenHeader("X-Sentinel-Kind", line(m.Kind))
	if m.ID != "" {
		letter.SetMessageIDWithValue(local(m.ID) + "@sentinel.invalid")
	}
	if m.Incident != "" {
		letter.SetGenHeader("References", "<"+local(m.Incident)+"@sentinel.invalid>")
	}
	if m.Severity == "critical" {
		letter.SetImportance(gomail.ImportanceHigh)
	}
	letter.SetBodyString(gomail.TypeTextPlain, m.Text+"\n")
	return letter, nil
}

// local makes an identity that may stand before an @.
func local(id string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r)) {
			return r
		}
		return '-'
	}, id)
}

func (s *Mail) local(ctx context.Context, letter *gomail.Msg) error {
	var text bytes.Buffer
	if _, err := letter.WriteTo(&text); err != nil {
		return permanent("the e-mail could not be written")
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, s.post.Sendmail, "-oi", "-t")
	cmd.Stdin, cmd.Stderr, cmd.WaitDelay = &text, &said, time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	reason := s.hidden.reason(said.Bytes(), "")
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return unanswered(ctx, s.post.Sendmail, err)
	case errors.As(err, &exit) && forGood(exit.ExitCode()):
		return permanent("%s refused it with exit code %d%s", s.post.Sendmail, exit.ExitCode(), reason)
	case errors.As(err, &exit):
		return temporary("%s failed with exit code %d%s", s.post.Sendmail, exit.ExitCode(), reason)
	}
	return temporary("%s could not be run: %s", s.post.Sendmail, line(err.Error()))
}

// forGood reports whether an exit code, as sysexits.h names them, is about the letter itself: its data, a person or a host
// that nobody knows.
func forGood(code int) bool { return code >= 64 && code <= 68 }

func (s *Mail) remote(ctx context.Context, letter *gomail.Msg) error {
	client, err := s.client(ctx)
	if err != nil {
		return permanent("%s: the settings are refused", s.About())
	}
	err = client.DialAndSendWithContext(ctx, letter)
	if err == nil || letter.IsDelivered() { // a goodbye that fails takes nothing back
		return nil
	}
	if ctx.Err() != nil {
		return unanswered(ctx, s.post.Host, err)
	}
	if code, text := answered(err); code != 0 {
		reason := s.hidden.reason([]byte(text), s.post.Host)
		if code/100 == 5 {
			return permanent("%s answered %d%s", s.post.Host, code, reason)
		}
		return temporary("%s answered %d%s", s.post.Host, code, reason)
	}
	var sent *gomail.SendError
	if errors.As(err, &sent) {
		return temporary("%s did not take it%s", s.post.Host, s.hidden.reason([]byte(line(innermost(err).Error())), s.post.Host))
	}
	text := network(innermost(err))
	if !s.hidden.shown(text, s.post.Host) {
		text = "the sign-in failed"
	}
	return temporary("%s was not reached: %s", s.post.Host, text)
}

// answered is what the server said no with.
func answered(err error) (code int, text string) {
	var p *textproto.Error
	if errors.As(err, &p) {
		return p.Code, line(p.Msg)
	}
	var sent *gomail.SendError
	if errors.As(err, &sent) && sent.ErrorCode() != 0 {
		return sent.ErrorCode(), ""
	}
	return 0, ""
}

func (s *Mail) client(ctx context.Context) (*gomail.Client, error) {
	private := &tls.Config{ServerName: s.post.Host, MinVersion: tls.VersionTLS12}
	if s.post.Roots != nil {
		private = s.post.Roots.Clone()
		private.ServerName, private.MinVersion = s.post.Host, tls.VersionTLS12
	}
	options := []gomail.Option{gomail.WithTimeout(Within), gomail.WithTLSConfig(private), gomail.WithPort(s.post.port()), gomail.WithoutNoop(),
		gomail.WithDialContextFunc(s.dial(ctx, private))}
	switch s.post.TLS {
	case Implicit:
		options = append(options, gomail.WithSSL())
	case NoTLS:
		if !Local(s.post.Host) {
			return nil, errors.New("without TLS only to this machine")
		}
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	}
	if s.post.User != "" {
		options = append(options, gomail.WithSMTPAuthCustom(&signIn{user: s.post.User, password: s.post.Password, host: s.post.Host}))
	}
	return gomail.NewClient(s.post.Host, options...)
}

func (p *Post) port() int {
	switch {
	case p.Port != 0:
		return p.Port
	case p.TLS == Implicit:
		return 465
	case p.TLS == NoTLS:
		return 25
	}
	return 587
}

// dial makes the whole conversation end with the context: the library asks it only while it connects.
func (s *Mail) dial(ctx context.Context, private *tls.Config) gomail.DialContextFunc {
	return func(dialing context.Context, network, addr string) (net.Conn, error) {
		dial := s.post.Dial
		if dial == nil {
			dial = new(net.Dialer).DialContext
		}
		conn, err := dial(dialing, network, addr)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { conn.Close() })
		if s.post.TLS != Implicit {
			return conn, nil
		}
		safe := tls.Client(conn, private)
		if err := safe.HandshakeContext(dialing); err != nil {
			conn.Close()
			return nil, err
		}
		return safe, nil
	}
}

// signIn takes the way to sign in that the server offers.
type signIn struct {
	user, password, host string
	by                   smtp.Auth
}

// Start implements smtp.Auth.
func (a *signIn) Start(server *smtp.ServerInfo) (string, []byte, error) {
	offers := strings.ToUpper(strings.Join(server.Auth, " "))
	switch {
	case strings.Contains(offers, "PLAIN"):
		a.by = smtp.PlainAuth("", a.user, a.password, a.host, false)
	case strings.Contains(offers, "LOGIN"):
		a.by = smtp.LoginAuth(a.user, a.password, a.host, false)
	case strings.Contains(offers, "CRAM-MD5"):
		a.by = smtp.CRAMMD5Auth(a.user, a.password)
	default:
		return "", nil, errors.New("it offers no way to sign in that is known: PLAIN, LOGIN or CRAM-MD5")
	}
	return a.by.Start(server)
}

// Next implements smtp.Auth.
func (a *signIn) Next(fromServer []byte, more bool) ([]byte, error) {
	return a.by.Next(fromServer, more)
}

// ValidPort is for who checks a port.
func ValidPort(port int) error {
	if port < 0 || port > 65535 {
		return errors.New(strconv.Itoa(port) + " is no port; 1 to 65535")
	}
	return nil
}
