package brain

// withNotices is what makes the smallest configuration's contact have channels.
func withNotices(notices string) (from, to string) {
	return `    phone: "+14155550100"`, "    phone: \"+14155550100\"\n    notices:\n" + notices
}

// wrongPeople are what may be wrong with how people are told. Where a secret stands in the file it must not be repeated.
func wrongPeople() []struct{ name, from, to string } {
	var all []struct{ name, from, to string }
	notices := func(name, text string) {
		from, to := withNotices(text)
		all = append(all, struct{ name, from, to string }{name, from, to})
	}
	other := func(name, from, to string) { all = append(all, struct{ name, from, to string }{name, from, to}) }
	notices("notices of no service", "      - nfty://ntfy.example.org/xyz012345\n      - https://hooks.example.org/xyz012345\n      - xyz012345\n      - url: 7\n")
	notices("ntfy without a topic", "      - ntfy://alex:xyz012345@ntfy.example.org\n")
	notices("ntfy with an unknown parameter", "      - ntfy://ntfy.example.org/home?prio=xyz012345\n")
	notices("Slack without a token", "      - slack://xyz012345@webhook\n")
	notices("Telegram with half a token", "      - url: telegram://xyz012345@telegram?chats=1\n")
	notices("an address that cannot be read", "      - url: \"ntfy://alex:xyz012345%zz@ntfy.example.org/home\"\n")
	notices("a logger", "      - logger://\n")
	notices("mail without TLS", "      - smtp://alex:xyz012345@mail.example.org/?encryption=None&from=a@example.org&to=b@example.org\n")
	notices("mail to nobody", "      - smtp://alex:xyz012345@mail.example.org/?from=a@example.org\n")
	notices("no way", "      - kinds: [power_outage]\n      - sms: false\n")
	notices("two ways", "      - sms: true\n        url: ntfy://ntfy.example.org/xyz012345\n")
	notices("an unknown way", "      - pager: true\n")
	notices("an empty address", "      - url: \"\"\n      - \"\"\n")
	notices("a secret for the name of a file with an address", "      - url_file: abcdefghijklmnopqrstuvwxyz012345\n")
	notices("mail without a section for it", "      - email: alex@example.org\n")
	notices("a mailbox", "      - email: Alex <alex@example.org>\n")
	notices("a webhook without a secret", "      - webhook: https://hooks.example.org/xyz012345\n")
	notices("a webhook that is none", "      - webhook: hooks.example.org/xyz012345\n        secret_file: hook-secret\n")
	notices("a secret without a webhook", "      - sms: true\n        secret_file: hook-secret\n")
	notices("unknown kinds, sites and severities", "      - sms: true\n        kinds: [power, ups, ups]\n        sites: [hom]\n        least: high\n        on: always\n")
	notices("a hasty and a lazy repetition", "      - sms: true\n        repeat: 1m\n      - sms: true\n        repeat: 2d\n")
	other("a text message without a phone", `    phone: "+14155550100"`, "    notices:\n      - sms: true")
	other("a text message without Twilio", "twilio:\n  account_sid: AC00000000000000000000000000000001\n  api_key_sid: SK00000000000000000000000000000002\n  api_key_secret_file: twilio-secret\n  from: \"+14155550199\"\n", "    notices: [{sms: true}]\n")
	other("what a phone rings for", `    phone: "+14155550100"`, "    phone: \"+14155550100\"\n    calls: {kinds: [ups, power_outage], sites: [office]}")
	other("quiet hours", `    phone: "+14155550100"`, "    phone: \"+14155550100\"\n    quiet_hours: 22-7")
	other("a whole quiet day", `    phone: "+14155550100"`, "    phone: \"+14155550100\"\n    quiet_hours: 22:00-22:00")
	other("hours that no clock shows", `    phone: "+14155550100"`, "    phone: \"+14155550100\"\n    quiet_hours: 22:00-24:00")
	other("so many calls, and no notices", "sites:", "calls: {per_hour: 0, other_per_hour: 100}\nnotices: {per_hour: 1}\nsites:")
	other("mail without a server", "sites:", "email: {from: sentinel@example.org}\nsites:")
	other("mail both ways", "sites:", "email: {host: mail.example.org, sendmail: /usr/sbin/sendmail, from: sentinel@example.org}\nsites:")
	other("mail from nobody", "sites:", "email: {host: mail.example.org}\nsites:")
	other("a mail server's address", "sites:", "email: {host: \"https://mail.example.org:587\", from: sentinel}\nsites:")
	other("mail in the open", "sites:", "email: {host: mail.example.org, tls: none, from: sentinel@example.org}\nsites:")
	other("a way to a mail server", "sites:", "email: {host: mail.example.org, tls: ssl, port: 99999, from: sentinel@example.org}\nsites:")
	other("a mail user without a password", "sites:", "email: {host: mail.example.org, user: alex, from: sentinel@example.org}\nsites:")
	other("a mail password as a value", "sites:", "email: {host: mail.example.org, user: alex, password: xyz012345, from: sentinel@example.org}\nsites:")
	other("a program with a port", "sites:", "email: {sendmail: sendmail, port: 25, from: sentinel@example.org}\nsites:")
	return all
}
