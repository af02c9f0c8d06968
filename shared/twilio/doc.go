// Package twilio places calls and sends text messages through Twilio's REST
// API, and says of every failure whether the call may have happened.
//
// It wraps twilio-go, which has no context, loses Retry-After, cannot be
// pointed at another host and cannot tell a refusal from a lost answer. Which
// calls to place, when to place them again and how to make a call happen once
// are decided elsewhere: this package keeps no state and never retries, since
// Twilio's POST is not idempotent.
//
// It must not import other adapters or a program, and of twilio-go only
// client and rest/api/v2010.
package twilio
