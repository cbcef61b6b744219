CREATE TABLE plays (
  sid STRING COMMENT 'the session
) WITH ('layer' = 'ods');
