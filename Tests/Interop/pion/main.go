// A connection of Pion for engine_pion.py, which drives it over standard input and output.
//
// Both ways are lines of JSON. A line with "size" is followed by that many bytes, the content of a message. Commands,
// by "do":
//
//	offer (restart; channels: label, ordered, maxRetransmits or maxPacketLifeTime of each), answer (sdp): a description
//	accept (sdp), candidate (candidate, or none at the end of them)
//	send (channel, kind text or binary, size), close (channel), negotiated (id, text), path, end
//
// Events: description (sdp), candidate (candidate, sdpMid), opened (channel, id), message (channel, kind, size), path
// (local, remote), failed (message). The end of standard input ends the process abruptly, as a crash does.
//
//	-setup active|passive   the role in DTLS as answerer
//	-gathered               no trickle: a description has all candidates
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/pion/datachannel"
	"github.com/pion/ice/v2"
	"github.com/pion/webrtc/v3"
)

// The largest message that Pion sends, and that it is sent as long as its descriptions name no other size (RFC 8841
// §6.1). Only channels that are detached have room for it: the others take a byte less.
const maximum = 65536

type command struct {
	Do        string                   `json:"do"`
	SDP       string                   `json:"sdp"`
	Restart   bool                     `json:"restart"`
	Channels  []channelOptions         `json:"channels"`
	Candidate *webrtc.ICECandidateInit `json:"candidate"`
	Channel   string                   `json:"channel"`
	Kind      string                   `json:"kind"`
	Size      int                      `json:"size"`
	ID        uint16                   `json:"id"`
	Text      string                   `json:"text"`
}

type channelOptions struct {
	Label string `json:"label"`
	webrtc.DataChannelInit
}

type fields map[string]interface{}

var output struct {
	sync.Mutex
	*bufio.Writer
}

func emit(event string, fields fields, content []byte) {
	fields["event"] = event
	line, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	output.Lock()
	defer output.Unlock()
	output.Write(line)
	output.WriteByte('\n')
	output.Write(content)
	output.Flush()
}

func check(err error) {
	if err != nil {
		emit("failed", fields{"message": err.Error()}, nil)
		os.Exit(1)
	}
}

type peer struct {
	connection *webrtc.PeerConnection
	isGathered bool

	lock     sync.Mutex
	channels map[string]channel
	// Candidates wait for the description that they belong to.
	isDescribing bool
	waiting      []webrtc.ICECandidateInit
}

type channel struct {
	opened *webrtc.DataChannel
	raw    datachannel.ReadWriteCloser
}

func newPeer(setup string, isGathered bool) *peer {
	settings := webrtc.SettingEngine{}
	settings.DetachDataChannels()
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	roles := map[string]webrtc.DTLSRole{"active": webrtc.DTLSRoleClient, "passive": webrtc.DTLSRoleServer}
	if role, isChosen := roles[setup]; isChosen {
		check(settings.SetAnsweringDTLSRole(role))
	}
	api := webrtc.NewAPI(webrtc.WithSettingEngine(settings))
	connection, err := api.NewPeerConnection(webrtc.Configuration{})
	check(err)
	peer := &peer{connection: connection, isGathered: isGathered, channels: map[string]channel{}}
	connection.OnICECandidate(peer.found)
	connection.OnDataChannel(peer.add)
	return peer
}

func (peer *peer) found(candidate *webrtc.ICECandidate) {
	if candidate == nil || peer.isGathered {
		return
	}
	peer.lock.Lock()
	defer peer.lock.Unlock()
	if peer.isDescribing {
		peer.waiting = append(peer.waiting, candidate.ToJSON())
	} else {
		tell(candidate.ToJSON())
	}
}

func tell(candidate webrtc.ICECandidateInit) {
	emit("candidate", fields{"candidate": candidate.Candidate, "sdpMid": candidate.SDPMid}, nil)
}

// A description of Pion's becomes the local one, and is told. A restart gathers from `create` on, so the candidates
// that come before the description wait.
func (peer *peer) describe(create func() (webrtc.SessionDescription, error)) {
	peer.lock.Lock()
	peer.isDescribing = true
	peer.lock.Unlock()
	description, err := create()
	check(err)
	gathered := webrtc.GatheringCompletePromise(peer.connection)
	check(peer.connection.SetLocalDescription(description))
	if peer.isGathered {
		<-gathered
		description = *peer.connection.LocalDescription()
	}
	peer.lock.Lock()
	defer peer.lock.Unlock()
	emit("description", fields{"sdp": description.SDP}, nil)
	for _, candidate := range peer.waiting {
		tell(candidate)
	}
	peer.isDescribing, peer.waiting = false, nil
}

func (peer *peer) add(opened *webrtc.DataChannel) {
	label := opened.Label()
	opened.OnOpen(func() {
		raw, err := opened.Detach()
		check(err)
		peer.lock.Lock()
		peer.channels[label] = channel{opened, raw}
		peer.lock.Unlock()
		emit("opened", fields{"channel": label, "id": opened.ID()}, nil)
		go read(label, raw)
	})
}

func read(label string, raw datachannel.ReadWriteCloser) {
	buffer := make([]byte, maximum)
	for {
		count, isText, err := raw.ReadDataChannel(buffer)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				emit("failed", fields{"message": fmt.Sprintf("%s: %v", label, err)}, nil)
			}
			return
		}
		kind := "binary"
		if isText {
			kind = "text"
		}
		emit("message", fields{"channel": label, "kind": kind, "size": count}, buffer[:count])
	}
}

func (peer *peer) channel(label string) channel {
	peer.lock.Lock()
	defer peer.lock.Unlock()
	return peer.channels[label]
}

func (peer *peer) perform(command command, content []byte) {
	switch command.Do {
	case "offer":
		for _, options := range command.Channels {
			opened, err := peer.connection.CreateDataChannel(options.Label, &options.DataChannelInit)
			check(err)
			peer.add(opened)
		}
		peer.describe(func() (webrtc.SessionDescription, error) {
			return peer.connection.CreateOffer(&webrtc.OfferOptions{ICERestart: command.Restart})
		})
	case "answer":
		peer.describe(func() (webrtc.SessionDescription, error) {
			offer := webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: command.SDP}
			if err := peer.connection.SetRemoteDescription(offer); err != nil {
				return webrtc.SessionDescription{}, err
			}
			return peer.connection.CreateAnswer(nil)
		})
	case "accept":
		answer := webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: command.SDP}
		check(peer.connection.SetRemoteDescription(answer))
	case "candidate":
		candidate := webrtc.ICECandidateInit{}
		if command.Candidate != nil {
			candidate = *command.Candidate
		}
		check(peer.connection.AddICECandidate(candidate))
	case "send":
		_, err := peer.channel(command.Channel).raw.WriteDataChannel(content, command.Kind == "text")
		check(err)
	case "close":
		check(peer.channel(command.Channel).opened.Close())
	case "negotiated":
		isNegotiated := true
		options := webrtc.DataChannelInit{Negotiated: &isNegotiated, ID: &command.ID}
		opened, err := peer.connection.CreateDataChannel("negotiated", &options)
		check(err)
		opened.OnOpen(func() {
			raw, err := opened.Detach()
			check(err)
			_, err = raw.WriteDataChannel([]byte(command.Text), true)
			check(err)
			go read("negotiated", raw)
		})
	case "path":
		pair, err := peer.connection.SCTP().Transport().ICETransport().GetSelectedCandidatePair()
		check(err)
		ends := fields{"local": nil, "remote": nil}
		if pair != nil {
			ends["local"] = fmt.Sprintf("%s:%d", pair.Local.Address, pair.Local.Port)
			ends["remote"] = fmt.Sprintf("%s:%d", pair.Remote.Address, pair.Remote.Port)
		}
		emit("path", ends, nil)
	case "end":
		check(peer.connection.Close())
		os.Exit(0)
	default:
		check(fmt.Errorf("unknown command %q", command.Do))
	}
}

func main() {
	setup := flag.String("setup", "", "the role in DTLS as answerer: active or passive")
	isGathered := flag.Bool("gathered", false, "descriptions have all candidates")
	flag.Parse()
	output.Writer = bufio.NewWriterSize(os.Stdout, 1<<17)
	peer := newPeer(*setup, *isGathered)
	input := bufio.NewReaderSize(os.Stdin, 1<<17)
	for {
		line, err := input.ReadBytes('\n')
		if err != nil {
			os.Exit(1)
		}
		var command command
		check(json.Unmarshal(line, &command))
		content := make([]byte, command.Size)
		_, err = io.ReadFull(input, content)
		check(err)
		peer.perform(command, content)
	}
}
