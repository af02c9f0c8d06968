// Package channel sends notices: by the services that shoutrrr knows, by e-mail, by SMS and to webhooks
// (rules C5 and C7).
//
// A sender makes one try, within the context and at most 15 s, and says of a failure whether trying again may help.
// What it says of one is safe to log and to show: never any part of a channel's address beyond the service and its
// host, and never a secret (rule R4). Who is told what, how often a notice is tried and in which order is not its
// business; it must not import the core, nor another adapter.
package channel
