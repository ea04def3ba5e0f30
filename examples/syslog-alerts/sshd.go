package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// What the generated lines are made of. Addresses are from the ranges that
// RFC 5737 keeps for documentation.
var (
	hostNames = makeHosts()
	staff     = []string{"anna", "ben", "chen", "deploy", "eva", "git"}
	guesses   = []string{"admin", "test", "oracle", "guest", "ubuntu", "pi", "support", "postgres", "ftpuser", "webmaster", "nagios", "user"}
)

func makeHosts() (hosts []string) {
	for _, kind := range []string{"web", "db", "mail", "rpi", "build"} {
		for i := range 24 {
			hosts = append(hosts, fmt.Sprintf("%s-%02d", kind, i+1))
		}
	}
	return hosts
}

func pick(rng *rand.Rand, list []string) string { return list[rng.IntN(len(list))] }

func attacker(rng *rand.Rand) string {
	return fmt.Sprintf("%s.%d", pick(rng, []string{"203.0.113", "198.51.100"}), 1+rng.IntN(254))
}

// appendLine appends the next line: an attack's, if one is under way, or what a
// server writes all day.
func (s *sender) appendLine(dst []byte, now time.Time) []byte {
	if s.attack == 0 && now.After(s.nextAttack) {
		s.attack, s.host, s.addr = attackLines, pick(s.rng, hostNames), attacker(s.rng)
		s.nextAttack = now.Add(attackEvery/2 + time.Duration(s.rng.Int64N(int64(attackEvery))))
	}
	pid := 1000 + s.rng.IntN(30000)
	if s.attack > 0 && s.rng.IntN(3) == 0 {
		s.attack--
		if s.attack == attackLines/2 && s.rng.IntN(2) == 0 {
			s.addr = attacker(s.rng) // attackers change their addresses
		}
		return fmt.Appendf(dst, "<38>%s %s sshd[%d]: Invalid user %s from %s", s.stamp, s.host, pid, pick(s.rng, guesses), s.addr)
	}
	host := pick(s.rng, hostNames)
	dst = fmt.Appendf(dst, "<38>%s %s sshd[%d]: ", s.stamp, host, pid)
	port, client := 1024+s.rng.IntN(60000), 1+s.rng.IntN(254)
	switch n := s.rng.IntN(1000); {
	case n < 350:
		return fmt.Appendf(dst, "Accepted publickey for %s from 192.0.2.%d port %d ssh2", pick(s.rng, staff), client, port)
	case n < 650:
		return fmt.Appendf(dst, "pam_unix(sshd:session): session opened for user %s by (uid=0)", pick(s.rng, staff))
	case n < 850:
		return fmt.Appendf(dst, "Received disconnect from 192.0.2.%d: 11: disconnected by user", client)
	case n < 950:
		return fmt.Appendf(dst, "Connection closed by 192.0.2.%d [preauth]", client)
	case n < 999:
		return fmt.Appendf(dst, "Failed password for root from %s port %d ssh2", attacker(s.rng), port)
	}
	// The odd typing error, too rare to reach a threshold often.
	return fmt.Appendf(dst, "Invalid user %s from 192.0.2.%d", pick(s.rng, guesses), client)
}
