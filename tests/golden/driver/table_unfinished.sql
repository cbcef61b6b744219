CREATE TABLE plays (
  sid STRING
