"""Identity documents, plates and phone numbers: checks, normal forms, pseudonyms and the key ring."""
