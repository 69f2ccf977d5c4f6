package schemas

// word is what producers write for a word of a closed list.
type word struct{ text, means string }

// words are the other words of the closed lists, by the name of the enum. A word that
// says less than one of the list, such as partially_refunded, is none of them.
var words = map[string][]word{
	"segmill.events.v1.PurchaseKind": {
		{"complete", "completed"},
		{"paid", "completed"},
		{"purchased", "completed"},
		{"succeeded", "completed"},
		{"success", "completed"},
		{"order_completed", "completed"},
		{"refund", "refunded"},
		{"fully_refunded", "refunded"},
		{"order_refunded", "refunded"},
		{"canceled", "cancelled"},
		{"cancel", "cancelled"},
		{"cancellation", "cancelled"},
		{"voided", "cancelled"},
		{"order_cancelled", "cancelled"},
		{"order_canceled", "cancelled"},
	},
	"segmill.events.v1.EmailAction": {
		{"send", "sent"},
		{"delivery", "delivered"},
		{"deliver", "delivered"},
		{"open", "opened"},
		{"click", "clicked"},
		{"bounce", "bounced"},
		{"hard_bounce", "bounced"},
		{"hard_bounced", "bounced"},
		{"complaint", "complained"},
		{"complain", "complained"},
		{"spamreport", "complained"},
		{"spam_report", "complained"},
		{"spam", "complained"},
		{"marked_as_spam", "complained"},
		{"unsubscribe", "unsubscribed"},
		{"unsub", "unsubscribed"},
		{"group_unsubscribe", "unsubscribed"},
	},
	"segmill.events.v1.Channel": {
		{"e_mail", "email"},
		{"text_message", "sms"},
		{"push_notification", "push"},
		{"mobile_push", "push"},
		{"web_push", "push"},
		{"advertising", "ads"},
		{"direct_mail", "post"},
		{"postal", "post"},
	},
	"segmill.events.v1.ConsentState": {
		{"grant", "granted"},
		{"opt_in", "granted"},
		{"opted_in", "granted"},
		{"accepted", "granted"},
		{"deny", "denied"},
		{"declined", "denied"},
		{"rejected", "denied"},
		{"withdraw", "withdrawn"},
		{"revoked", "withdrawn"},
		{"opt_out", "withdrawn"},
		{"opted_out", "withdrawn"},
	},
}
