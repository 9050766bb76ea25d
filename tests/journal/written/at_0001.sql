BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE event (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at TEXT NOT NULL, 
	policy TEXT NOT NULL, 
	token INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	body TEXT NOT NULL
);
INSERT INTO "event" VALUES(1,'2026-11-23T12:00:00.000000+00:00','chat',1,'KeyAdopted','{"key":{"key_id":"key_000001","state":"current","origin":"adopted","project":"proj_a","since":"2026-11-23T12:00:00Z","fingerprint":"a87afd8ef2b9dd4cab7d00a3b21e18f4","name":"my first key","created_at":"2026-11-23T12:00:00Z","expires_at":null,"jitter":0.5,"rotation_id":"","replaced_by":"","grace_until":null,"grace_limit":null,"revoke_after":null,"revoked_at":null,"expiry_forwarded":false},"grace_until":"2026-11-24T12:00:00Z","grace_limit":"2026-11-27T12:00:00Z"}');
INSERT INTO "event" VALUES(2,'2026-11-23T12:00:00.000000+00:00','chat',0,'RotationRequested','{"reason":"quarterly (ada)","compromised":false}');
INSERT INTO "event" VALUES(3,'2026-11-23T12:00:00.000000+00:00','chat',2,'RotationIntended','{"rotation":{"rotation_id":"2b66dd00-b4b0-4fdd-993f-a69fa8906cc4","reason":"RotateRequested: requested: quarterly (ada)","phase":"intended","key_name":"rotator_prod_chat_20261123_zyjcv5er","expires_at":"2026-12-23T12:00:00Z","started_at":"2026-11-23T12:00:00Z","expected":{"one:app#KEY":"1","two:app#KEY":"1"},"replaces":{"one:app#KEY":"a87afd8ef2b9dd4cab7d00a3b21e18f4","two:app#KEY":"a87afd8ef2b9dd4cab7d00a3b21e18f4"},"grace":"P1D","key_id":"","fingerprint":null,"published":[]}}');
INSERT INTO "event" VALUES(4,'2026-11-23T12:00:00.000000+00:00','chat',2,'KeyIssued','{"rotation_id":"2b66dd00-b4b0-4fdd-993f-a69fa8906cc4","key":{"key_id":"key_000002","state":"candidate","origin":"issued","project":"proj_a","since":"2026-11-23T12:00:00Z","fingerprint":"5c5e0367b6e930de4fe170252126b7a2","name":"rotator_prod_chat_20261123_zyjcv5er","created_at":"2026-11-23T12:00:00Z","expires_at":"2026-12-23T12:00:00Z","jitter":0.5,"rotation_id":"2b66dd00-b4b0-4fdd-993f-a69fa8906cc4","replaced_by":"","grace_until":null,"grace_limit":null,"revoke_after":null,"revoked_at":null,"expiry_forwarded":false}}');
INSERT INTO "event" VALUES(5,'2026-11-23T12:00:00.000000+00:00','chat',2,'KeyVerified','{"rotation_id":"2b66dd00-b4b0-4fdd-993f-a69fa8906cc4"}');
INSERT INTO "event" VALUES(6,'2026-11-23T12:00:00.000000+00:00','chat',2,'DestinationPublished','{"rotation_id":"2b66dd00-b4b0-4fdd-993f-a69fa8906cc4","destination":"one:app#KEY"}');
INSERT INTO "event" VALUES(7,'2026-11-23T12:00:00.000000+00:00','chat',2,'DestinationPublished','{"rotation_id":"2b66dd00-b4b0-4fdd-993f-a69fa8906cc4","destination":"two:app#KEY"}');
INSERT INTO "event" VALUES(8,'2026-11-23T12:00:00.000000+00:00','chat',2,'GraceStarted','{"rotation_id":"2b66dd00-b4b0-4fdd-993f-a69fa8906cc4","grace_until":"2026-11-24T12:00:00Z","grace_limit":"2026-11-27T12:00:00Z"}');
INSERT INTO "event" VALUES(9,'2026-11-23T12:00:00.000000+00:00','chat',2,'ExpiryForwarded','{"key_id":"key_000001","expires_at":"2026-11-27T13:00:00Z"}');
INSERT INTO "event" VALUES(10,'2026-11-23T12:00:00.000000+00:00','chat',0,'RotationRequested','{"reason":"again (ada)","compromised":false}');
INSERT INTO "event" VALUES(11,'2026-11-23T12:00:00.000000+00:00','chat',3,'RotationIntended','{"rotation":{"rotation_id":"93610ada-5585-4067-8c59-87e395f96de7","reason":"RotateRequested: requested: again (ada)","phase":"intended","key_name":"rotator_prod_chat_20261123_rq52hpnp","expires_at":"2026-12-23T12:00:00Z","started_at":"2026-11-23T12:00:00Z","expected":{"one:app#KEY":"2","two:app#KEY":"2"},"replaces":{"one:app#KEY":"5c5e0367b6e930de4fe170252126b7a2","two:app#KEY":"5c5e0367b6e930de4fe170252126b7a2"},"grace":"P1D","key_id":"","fingerprint":null,"published":[]}}');
INSERT INTO "event" VALUES(12,'2026-11-23T12:00:00.000000+00:00','chat',3,'KeyIssued','{"rotation_id":"93610ada-5585-4067-8c59-87e395f96de7","key":{"key_id":"key_000003","state":"candidate","origin":"issued","project":"proj_a","since":"2026-11-23T12:00:00Z","fingerprint":"241f885ca8bbbc31f47918d92c9ed96d","name":"rotator_prod_chat_20261123_rq52hpnp","created_at":"2026-11-23T12:00:00Z","expires_at":"2026-12-23T12:00:00Z","jitter":0.5,"rotation_id":"93610ada-5585-4067-8c59-87e395f96de7","replaced_by":"","grace_until":null,"grace_limit":null,"revoke_after":null,"revoked_at":null,"expiry_forwarded":false}}');
INSERT INTO "event" VALUES(13,'2026-11-23T12:00:00.000000+00:00','chat',3,'KeyVerified','{"rotation_id":"93610ada-5585-4067-8c59-87e395f96de7"}');
INSERT INTO "event" VALUES(14,'2026-11-23T12:00:00.000000+00:00','chat',3,'DestinationPublished','{"rotation_id":"93610ada-5585-4067-8c59-87e395f96de7","destination":"one:app#KEY"}');
INSERT INTO "event" VALUES(15,'2026-11-23T12:00:00.000000+00:00','chat',0,'Held','{"reason":"an audit (ada)"}');
INSERT INTO "event" VALUES(16,'2026-11-23T12:00:00.000000+00:00','chat',0,'Held','{"reason":""}');
CREATE TABLE observation (
	destination TEXT NOT NULL, 
	scope TEXT NOT NULL, 
	fingerprint TEXT, 
	seen_at TEXT NOT NULL, 
	PRIMARY KEY (destination)
);
INSERT INTO "observation" VALUES('one:app#KEY','together/proj_a','241f885ca8bbbc31f47918d92c9ed96d','2026-11-23T12:00:00.000000+00:00');
INSERT INTO "observation" VALUES('two:app#KEY','together/proj_a','5c5e0367b6e930de4fe170252126b7a2','2026-11-23T12:00:00.000000+00:00');
CREATE TABLE policy_state (
	policy TEXT NOT NULL, 
	state TEXT NOT NULL, 
	next_at TEXT, 
	digest TEXT DEFAULT '' NOT NULL, 
	failures INTEGER DEFAULT '0' NOT NULL, 
	problem TEXT DEFAULT '' NOT NULL, 
	lease_holder TEXT DEFAULT '' NOT NULL, 
	lease_token INTEGER DEFAULT '0' NOT NULL, 
	lease_until TEXT DEFAULT '' NOT NULL, 
	lease_seconds INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (policy)
);
INSERT INTO "policy_state" VALUES('chat','{"policy":"chat","keys":[{"key_id":"key_000001","state":"retiring","origin":"adopted","project":"proj_a","since":"2026-11-23T12:00:00Z","fingerprint":"a87afd8ef2b9dd4cab7d00a3b21e18f4","name":"my first key","created_at":"2026-11-23T12:00:00Z","expires_at":"2026-11-27T13:00:00Z","jitter":0.5,"rotation_id":"","replaced_by":"2b66dd00-b4b0-4fdd-993f-a69fa8906cc4","grace_until":"2026-11-24T12:00:00Z","grace_limit":"2026-11-27T12:00:00Z","revoke_after":null,"revoked_at":null,"expiry_forwarded":true},{"key_id":"key_000002","state":"current","origin":"issued","project":"proj_a","since":"2026-11-23T12:00:00Z","fingerprint":"5c5e0367b6e930de4fe170252126b7a2","name":"rotator_prod_chat_20261123_zyjcv5er","created_at":"2026-11-23T12:00:00Z","expires_at":"2026-12-23T12:00:00Z","jitter":0.5,"rotation_id":"2b66dd00-b4b0-4fdd-993f-a69fa8906cc4","replaced_by":"","grace_until":null,"grace_limit":null,"revoke_after":null,"revoked_at":null,"expiry_forwarded":false},{"key_id":"key_000003","state":"candidate","origin":"issued","project":"proj_a","since":"2026-11-23T12:00:00Z","fingerprint":"241f885ca8bbbc31f47918d92c9ed96d","name":"rotator_prod_chat_20261123_rq52hpnp","created_at":"2026-11-23T12:00:00Z","expires_at":"2026-12-23T12:00:00Z","jitter":0.5,"rotation_id":"93610ada-5585-4067-8c59-87e395f96de7","replaced_by":"","grace_until":null,"grace_limit":null,"revoke_after":null,"revoked_at":null,"expiry_forwarded":false}],"rotations":[{"rotation_id":"2b66dd00-b4b0-4fdd-993f-a69fa8906cc4","reason":"RotateRequested: requested: quarterly (ada)","phase":"grace","key_name":"rotator_prod_chat_20261123_zyjcv5er","expires_at":"2026-12-23T12:00:00Z","started_at":"2026-11-23T12:00:00Z","expected":{"one:app#KEY":"1","two:app#KEY":"1"},"replaces":{"one:app#KEY":"a87afd8ef2b9dd4cab7d00a3b21e18f4","two:app#KEY":"a87afd8ef2b9dd4cab7d00a3b21e18f4"},"grace":"P1D","key_id":"key_000002","fingerprint":"5c5e0367b6e930de4fe170252126b7a2","published":["one:app#KEY","two:app#KEY"]},{"rotation_id":"93610ada-5585-4067-8c59-87e395f96de7","reason":"RotateRequested: requested: again (ada)","phase":"publishing","key_name":"rotator_prod_chat_20261123_rq52hpnp","expires_at":"2026-12-23T12:00:00Z","started_at":"2026-11-23T12:00:00Z","expected":{"one:app#KEY":"2","two:app#KEY":"2"},"replaces":{"one:app#KEY":"5c5e0367b6e930de4fe170252126b7a2","two:app#KEY":"5c5e0367b6e930de4fe170252126b7a2"},"grace":"P1D","key_id":"key_000003","fingerprint":"241f885ca8bbbc31f47918d92c9ed96d","published":["one:app#KEY"]}],"open_intents":[],"hold":"","requested":"again (ada)","compromised":false}','2026-11-23T12:00:26.250000+00:00','d1',1,'not published everywhere yet: sealed','',3,'',300);
CREATE INDEX event_by_policy ON event (policy, seq);
CREATE INDEX observation_by_scope ON observation (scope);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('event',16);
COMMIT;
